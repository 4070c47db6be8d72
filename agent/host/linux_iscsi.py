"""Records, logins and logouts on the real host: one iscsiadm each, judged by what sysfs shows afterwards."""

import asyncio
import time
from collections.abc import Sequence

from agent.host import chap, iscsiadm, node_db, sysfs
from agent.host.iscsiadm import Result, Use
from agent.host.roots import Roots
from agent.host.tools import Tools, left
from agent.workers.pool import Abandoned
from attachers.base import MadeByAnotherError
from attachers.problems import Code, Problem
from attachers.sights import LOGGED_IN, Record, Session
from attachers.steps import CreateRecord, DeleteRecord, Login, Logout

TRIES = 3  # of a command that the state of the database, and not what was asked, brought to its end
LATE_S = 15.0  # how long a login that iscsid was told of may still take (login_timeout, and what a retry costs)
LOOK_S = 0.2
PAUSE_S = 1.0
RETRIED = (iscsiadm.DATABASE, iscsiadm.AGAIN)
LATER = (*RETRIED, iscsiadm.NOT_FOUND, iscsiadm.INTERNAL, iscsiadm.NOT_CONNECTED)
"""What a logout ends with while iscsid, begun anew, takes up its sessions (usr/initiator.c session_logout_task)."""


def records(roots: Roots, target: str, sessions: Sequence[Session]) -> tuple[Record, ...]:
    """The records of a target; one that a session was made with has served, and is not looked into."""
    used = {session.portal for session in sessions}
    return tuple(
        Record(target, portal)
        if portal in used
        else Record(
            target,
            portal,
            flaw=node_db.flaw(roots, target, portal),
            old=node_db.is_older(roots, target, portal, iscsiadm.installed()),
        )
        for portal in node_db.portals(roots, target)
    )


async def create_record(tools: Tools, step: CreateRecord, deadline: float) -> None:
    """One process, for a record as iscsid.conf has it; our settings are written into it.

    A crash between the two is made good by the next login.
    """
    values = _values(tools, step)
    _insist_on_iface(tools, step)
    mark = iscsiadm.unfinished(tools.roots, step.target, step.portal)
    mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.touch()
    node_db.drop_broken(tools.roots, step.target, step.portal, only_empty=True)
    if node_db.is_discovered(tools.roots, step.target, step.portal):  # with ours it would be two (attach.md, case 29)
        await _delete(tools, step, deadline)
    iface = ["-I", step.iface] if step.iface else []
    result = await _run(tools, step, ["-o", "new", *iface], deadline, Use.WRITES)
    if result.code != iscsiadm.SUCCESS:
        raise iscsiadm.refusal(result, step.describe())
    await _configure(tools, step, values, deadline)


def _values(tools: Tools, step: CreateRecord | Login) -> dict[str, str]:
    """Our settings, and how to log in where the server has CHAP. Raises `Problem` without the secrets."""
    values = dict(iscsiadm.SETTINGS)
    if step.chap:
        secrets = chap.secrets_of(tools.roots, step.chap, step.portal)
        values |= {"authmethod": "CHAP", "username": secrets.user, "password": secrets.password.reveal()}
        if secrets.mutual_password:
            values |= {"username_in": secrets.mutual_user, "password_in": secrets.mutual_password.reveal()}
    return {key if "." in key else f"{node_db.AUTH}{key}": value for key, value in values.items()}


def _insist_on_iface(tools: Tools, step: CreateRecord) -> None:
    if step.iface not in iscsiadm.WITHOUT_FILE and node_db.iface_file(tools.roots, step.iface) is None:
        text = f"open-iscsi has no interface {step.iface} on this host"
        raise Problem(Code.UNSUPPORTED_ON_HOST, text, hint=f"make it: iscsiadm -m iface -I {step.iface} -o new")


async def _configure(tools: Tools, step: CreateRecord | Login, values: dict[str, str], deadline: float) -> None:
    """Write our settings into the record, under the database's lock; never through a command line."""
    async with tools.iscsiadm.database(step.describe(), Use.WRITES, timeout_s=left(deadline)):
        node_db.write(tools.roots, step.target, step.portal, values, auth=bool(step.chap))
    iscsiadm.unfinished(tools.roots, step.target, step.portal).unlink(missing_ok=True)


async def log_in(tools: Tools, step: Login, deadline: float) -> None:
    """One process. What it comes to is what sysfs shows; its exit code is asked only where that shows no session.

    Raises `MadeByAnotherError` when somebody else had logged in there, or has meanwhile.
    """
    if _sessions(tools, step):
        raise MadeByAnotherError(step.describe())
    await _correct(tools, step, deadline)
    result = await _login(tools, step, deadline)
    number = iscsiadm.number_of(result)
    if number in (iscsiadm.SUCCESS, iscsiadm.EXISTS) or _was_killed(result):
        await _appears(tools, step, min(left(deadline), LATE_S))
    sessions = _sessions(tools, step)
    if number == iscsiadm.EXISTS and sessions:
        raise MadeByAnotherError(step.describe())
    if sessions and (number == iscsiadm.SUCCESS or any(session.state == LOGGED_IN for session in sessions)):
        return
    if number in (iscsiadm.SUCCESS, iscsiadm.EXISTS):
        text = f"{step.describe()}: iscsid says it is done, but there is no session"
        raise Problem(Code.TARGET_TIMEOUT, text, hint="see iscsid's log", step=step.describe())
    raise iscsiadm.refusal(result, step.describe())


async def _login(tools: Tools, step: Login, deadline: float) -> Result:
    result = Result(iscsiadm.AGAIN, "")
    for _ in range(TRIES):
        try:
            result = await _run(tools, step, ["-l"], deadline, Use.READS)
        except Abandoned as late:
            raise Abandoned(step.describe(), asyncio.ensure_future(_ended(tools, step, late.ended))) from None
        if iscsiadm.number_of(result) not in RETRIED or _sessions(tools, step):
            break
    return result


async def _ended(tools: Tools, step: Login, late: "asyncio.Future[Result]") -> None:
    """The true end of a login that nobody waits for any more: where iscsiadm was killed, not before iscsid's."""
    if _was_killed(await late):
        await _appears(tools, step, LATE_S)


def _was_killed(result: Result) -> bool:
    """A login outlives its iscsiadm: iscsid has been asked for it (attach.md, case 39)."""
    return result.code < 0


async def _correct(tools: Tools, step: Login, deadline: float) -> None:
    """Our record may be half made by a crash, or hold an old secret."""
    half = iscsiadm.unfinished(tools.roots, step.target, step.portal).exists()
    if not (half or step.chap):
        return
    values, files = _values(tools, step), node_db.files(tools.roots, step.target, step.portal)
    if half or any(values.items() - node_db.settings(file).items() for file in files):
        await _configure(tools, step, values, deadline)


async def _appears(tools: Tools, step: Login, limit_s: float) -> None:
    """Wait for a session that iscsid may be about to make, for us or for somebody else."""
    until = time.monotonic() + limit_s
    while not _sessions(tools, step) and left(until):
        since = tools.changes.count
        await tools.changes.above(since, timeout_s=min(LOOK_S, left(until)))


async def log_out(tools: Tools, step: Logout, deadline: float) -> None:
    """One process, by the session's number, so that another session to the same portal stays. None if it is gone.

    What it comes to is what sysfs shows: 21 says that there was nothing to log out of. It is asked for again while
    iscsid is not ready for it (attach.md, case 31).
    """
    sessions = [s for s in _sessions(tools, step) if step.sid in (None, s.sid)]
    if not sessions:
        return
    if len(sessions) > 1:
        detail = f"there are {len(sessions)} sessions to {step.target} at {step.portal}: which one is ours is not known"
        raise Problem(Code.CONFLICT, detail, hint=f"log out by hand: iscsiadm -m session -r {sessions[-1].sid} -u")
    (session,) = sessions
    if session.devices:
        detail = f"the session to {step.target} at {step.portal} carries {', '.join(session.devices)}"
        raise Problem(Code.IN_USE, detail, hint="detach what uses these disks first", step=step.describe())
    arguments = ["-m", "session", "-r", str(session.sid), "-u"]
    while True:
        result = await tools.iscsiadm.run(arguments, step.describe(), timeout_s=left(deadline))
        if not _stands(tools, step, session):
            return
        if result.code not in LATER or left(deadline) <= 2 * PAUSE_S:
            raise iscsiadm.refusal(result, step.describe())
        until = time.monotonic() + PAUSE_S
        while left(until) and _stands(tools, step, session):
            await tools.changes.above(tools.changes.count, timeout_s=left(until))


def _stands(tools: Tools, step: Logout, session: Session) -> bool:
    return any(one.sid == session.sid for one in _sessions(tools, step))


async def delete_record(tools: Tools, step: DeleteRecord, deadline: float) -> None:
    """No process: a record as ours are is a file. Refused while a session uses it."""
    if _sessions(tools, step):
        detail = f"a session to {step.target} at {step.portal} uses the record"
        raise Problem(Code.IN_USE, detail, hint="log out first", step=step.describe())
    await _delete(tools, step, deadline)
    iscsiadm.unfinished(tools.roots, step.target, step.portal).unlink(missing_ok=True)


async def _delete(tools: Tools, step: CreateRecord | DeleteRecord, deadline: float) -> None:
    async with tools.iscsiadm.database(step.describe(), Use.REMOVES, timeout_s=left(deadline)):
        if node_db.remove(tools.roots, step.target, step.portal):
            return
    result = await _run(tools, step, ["-o", "delete"], deadline, Use.REMOVES)
    if result.code == iscsiadm.NOTHING_FOUND:
        node_db.drop_broken(tools.roots, step.target, step.portal)
    if step.portal in node_db.portals(tools.roots, step.target):
        raise iscsiadm.refusal(result, step.describe())


async def _run(
    tools: Tools, step: CreateRecord | Login | DeleteRecord, arguments: list[str], deadline: float, use: Use
) -> Result:
    words = ["-m", "node", "-T", step.target, "-p", step.portal, *arguments]
    return await tools.iscsiadm.run(words, step.describe(), timeout_s=left(deadline), use=use)


def _sessions(tools: Tools, step: CreateRecord | Login | Logout | DeleteRecord) -> list[Session]:
    return [session for session in sysfs.sessions(tools.roots, step.target) if session.portal == step.portal]

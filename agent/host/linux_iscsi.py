"""Records, logins and logouts on the real host: one iscsiadm each, judged by what sysfs shows afterwards."""

from agent.host import iscsiadm, sysfs
from agent.host.tools import Tools, left
from attachers.problems import Code, Problem
from attachers.sights import LOGGED_IN, Session
from attachers.steps import CreateRecord, DeleteRecord, Login, Logout


async def create_record(tools: Tools, step: CreateRecord, deadline: float) -> None:
    """Two processes: a record, and all our settings at once. A crash between them is made good by `log_in`."""
    mark = iscsiadm.unfinished(tools.roots, step.target, step.portal)
    mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.touch()
    iscsiadm.drop_broken(tools.roots, step.target, step.portal, only_empty=True)
    await _node(tools, step, ["-o", "new"], deadline, writes=True)
    await _configure(tools, step, deadline)


async def _configure(tools: Tools, step: CreateRecord | Login, deadline: float) -> None:
    pairs = [word for name, value in iscsiadm.SETTINGS.items() for word in ("-n", name, "-v", value)]
    await _node(tools, step, ["-o", "update", *pairs], deadline, writes=True)
    iscsiadm.unfinished(tools.roots, step.target, step.portal).unlink(missing_ok=True)


async def log_in(tools: Tools, step: Login, deadline: float) -> None:
    """One process, none where there is a session. Exit code 0 or 15 counts when sysfs shows the session."""
    if _sessions(tools, step):
        return
    if iscsiadm.unfinished(tools.roots, step.target, step.portal).exists():
        await _configure(tools, step, deadline)
    result = await _run(tools, step, ["-l"], deadline)
    sessions = _sessions(tools, step)
    done = result.code in (iscsiadm.SUCCESS, iscsiadm.EXISTS)
    if not done and not any(session.state == LOGGED_IN for session in sessions):
        raise iscsiadm.refusal(result, step.describe())
    if not sessions:
        text = f"{step.describe()}: iscsid says it is done, but there is no session"
        raise Problem(Code.TARGET_TIMEOUT, text, hint="see iscsid's log", step=step.describe())


async def log_out(tools: Tools, step: Logout, deadline: float) -> None:
    """One process, by the session's number, so that another session to the same portal stays. None if it is gone."""
    sessions = _sessions(tools, step)
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
    result = await tools.iscsiadm.run(arguments, step.describe(), timeout_s=left(deadline))
    if any(remaining.sid == session.sid for remaining in _sessions(tools, step)):
        raise iscsiadm.refusal(result, step.describe())


async def delete_record(tools: Tools, step: DeleteRecord, deadline: float) -> None:
    """One process, none where there is no record."""
    if _sessions(tools, step):
        detail = f"a session to {step.target} at {step.portal} uses the record"
        raise Problem(Code.IN_USE, detail, hint="log out first", step=step.describe())
    if step.portal not in iscsiadm.portals(tools.roots, step.target):
        return
    result = await _run(tools, step, ["-o", "delete"], deadline, writes=True)
    if result.code == iscsiadm.NOTHING_FOUND:
        iscsiadm.drop_broken(tools.roots, step.target, step.portal)
    if step.portal in iscsiadm.portals(tools.roots, step.target):
        raise iscsiadm.refusal(result, step.describe())
    iscsiadm.unfinished(tools.roots, step.target, step.portal).unlink(missing_ok=True)


async def _node(
    tools: Tools, step: CreateRecord | Login, arguments: list[str], deadline: float, *, writes: bool
) -> None:
    result = await _run(tools, step, arguments, deadline, writes=writes)
    if result.code != iscsiadm.SUCCESS:
        raise iscsiadm.refusal(result, step.describe())


async def _run(
    tools: Tools,
    step: CreateRecord | Login | DeleteRecord,
    arguments: list[str],
    deadline: float,
    *,
    writes: bool = False,
) -> iscsiadm.Result:
    words = ["-m", "node", "-T", step.target, "-p", step.portal, *arguments]
    return await tools.iscsiadm.run(words, step.describe(), timeout_s=left(deadline), writes=writes)


def _sessions(tools: Tools, step: CreateRecord | Login | Logout | DeleteRecord) -> list[Session]:
    return [session for session in sysfs.sessions(tools.roots, step.target) if session.portal == step.portal]

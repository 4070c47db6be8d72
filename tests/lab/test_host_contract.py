"""The contract that the simulated host keeps is kept by the real one: the same tests, in the guest, as root."""

from tests.lab.guest import Guest


def test_the_real_host_keeps_the_contract(guest: Guest) -> None:
    guest.run(
        "systemctl stop cdmi-attachd.service cdmi-attachd.socket cdmi-attach-helperd.service cdmi-attach-helperd.socket"
    )
    command = "cd /opt/cdmi-attach && /usr/bin/python3 -m pytest -q -p no:cacheprovider tests/host --host linux"
    done = guest.run(command, check=False, timeout_s=900)
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]

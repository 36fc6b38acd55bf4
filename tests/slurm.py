"""Starts a private Slurm cluster: a controller and two nodes on this host, with Debian's slurm-wlm
and munge. It uses no configuration and no service of the system.
"""

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=20
NodeName=one NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=two NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=low Nodes=one,two Default=YES PriorityTier=1 GraceTime=20 State=UP
PartitionName=high Nodes=one,two PriorityTier=10 State=UP
"""


def available() -> bool:
    """Whether a cluster can be started here."""
    return os.geteuid() == 0 and all(shutil.which(name) for name in PROGRAMS)


def free_ports(count: int) -> list[int]:
    """Ports that no program uses now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


@contextmanager
def cluster(folder: Path):
    """Start a cluster and stop it at the end. Yields the environment for its commands."""
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, host=socket.gethostname(), ports=free_ports(3))
    )
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    munged = [
        "munged",
        "--foreground",
        "--force",
        f"--key-file={folder}/munge.key",
        f"--socket={folder}/munge.socket",
        f"--pid-file={folder}/munge.pid",
        f"--seed-file={folder}/munge.seed",
        f"--log-file={folder}/munge.log",
    ]
    commands = [
        munged,
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D", "-N", "one"],
        ["slurmd", "-D", "-N", "two"],
    ]
    running = []
    try:
        for number, command in enumerate(commands):
            log = open(folder / f"daemon{number}.log", "w")  # noqa: SIM115  # open while the daemon runs
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(1)
        yield environment
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(20)

"""`jackfield config systemd`: unit files for the hub as a service, on standard output or in a directory."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

from .failures import Failure
from .operate import print_json

_SERVICE: Final = """\
# The hub as a service. Made by `jackfield config systemd`; change it with `systemctl edit jackfield.service`.
[Unit]
Description=Jackfield hub
After=network.target
{requires}
[Service]
# The hub says when it serves, that it lives, how many clients it has, and who its successor is.
Type=notify
NotifyAccess=main
WatchdogSec=60s
ExecStart={program} --control {control} serve --log-format journald --config {config} --state {state}
# Clients and listeners are kept; the new process is the service's main process then.
ExecReload={program} --control {control} reload
Restart=on-failure
TimeoutStopSec=10s
LimitNOFILE=65536

# {control}, {state} and {config}
RuntimeDirectory=jackfield
StateDirectory=jackfield
ConfigurationDirectory=jackfield
UMask=0077
{user}
# What the hub does not need. Ports below 1024 need AmbientCapabilities=CAP_NET_BIND_SERVICE and the same in
# CapabilityBoundingSet=; serial ports need PrivateDevices=no and SupplementaryGroups=dialout.
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy={target}
"""
_SOCKET: Final = """\
# The hub's listening sockets, opened by systemd: they are there before the hub is, and stay.
# In the configuration the hub names them by: listen = ["fd://hub"]
[Unit]
Description=Sockets of the Jackfield hub

[Socket]
{listen}
FileDescriptorName=hub

[Install]
WantedBy=sockets.target
"""


def systemd(*, listen: list[str], to: str | None, user: bool, as_json: bool) -> None:
    units = {"jackfield.service": service(user=user, activated=bool(listen))}
    if listen:
        units["jackfield.socket"] = _SOCKET.format(
            listen="\n".join(f"ListenStream={each}" for each in listen)
        )
    if to is None and as_json:
        print_json([{"name": name, "text": text} for name, text in units.items()])
        return
    if to is None:
        sys.stdout.write("\n".join(f"# {name}\n{text}" for name, text in units.items()))
        return
    directory = Path(to)
    if not directory.is_dir():
        raise Failure(f"{directory} is no directory", "units belong to /etc/systemd/system")
    for name, text in units.items():
        (directory / name).write_text(text, encoding="utf-8")
        if not as_json:
            print(directory / name)
    if as_json:
        print_json([{"name": name, "file": str(directory / name)} for name in units])


def service(*, user: bool, activated: bool) -> str:
    """The service unit: of the system, or of a user."""
    here = shutil.which("jackfield") or sys.argv[0]
    program = shlex.quote(str(Path(here).absolute())) if here.endswith("jackfield") else "jackfield"
    return _SERVICE.format(
        program=program,
        control="%t/jackfield/hub.sock",
        state="%S/jackfield/hub.db",
        config="%E/jackfield/jackfield.toml",
        requires="Requires=jackfield.socket\n" if activated else "",
        user="" if user else "DynamicUser=yes\n",
        target="default.target" if user else "multi-user.target",
    )

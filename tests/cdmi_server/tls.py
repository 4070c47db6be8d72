"""A certificate authority of the server's own, made with the openssl command, and the server's certificate."""

import ipaddress
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DEADLINE_S = 60


@dataclass(frozen=True)
class Tls:
    """What a server needs, and (ca_file) what its clients need."""

    ca_file: Path
    context: ssl.SSLContext


def make_tls(folder: Path, hosts: Sequence[str]) -> Tls:
    """Return the server's side of TLS for these hosts; the authority is kept in the folder over restarts."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "ca.pem").exists():
        _write_config(folder, "CDMI server CA", ["localhost"])
        _openssl(
            folder, "req", "-x509", *_KEY, "-days", "3650", "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem"
        )
    _write_config(folder, hosts[0], hosts)
    _openssl(folder, "req", "-new", *_KEY, "-keyout", "server.key", "-out", "server.csr")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "825")
    extensions = ("-extfile", "openssl.cnf", "-extensions", "server")
    _openssl(folder, "x509", "-req", "-in", "server.csr", *signing, *extensions, "-out", "server.pem", config=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return Tls(folder / "ca.pem", context)


def _write_config(folder: Path, name: str, hosts: Sequence[str]) -> None:
    names = ",".join(_alternative(host) for host in dict.fromkeys(hosts))
    (folder / "openssl.cnf").write_text(_CONFIG.format(name=name, names=names))


def _alternative(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


def _openssl(folder: Path, *words: str, config: bool = True) -> None:
    ending = ("-config", "openssl.cnf") if config else ()
    command = ["openssl", *words, *ending]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")

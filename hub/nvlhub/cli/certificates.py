"""Commands on certificates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nvlhub.cli.base import Json, call, fail, fields, group, items, path_of, show, tell
from nvlhub.flow.certificate import judge, read

certificates = group("certificate", "Signed words about what somebody achieved in a course.")

COLUMNS = ("id", "verdict", "run", "seat", "user", "issued_at", "revoked_at")


@certificates.command("list")
def certificate_list(
    run: Annotated[int | None, typer.Option(help="Those of a run that you teach; left out: your own.")] = None,
    as_json: Json = False,
) -> None:
    """List certificates."""
    path = "/certificates" if run is None else f"/runs/{run}/certificates"
    show(items(path), fields(*COLUMNS), as_json=as_json)


@certificates.command("verify")
def certificate_verify(
    certificate: Annotated[str, typer.Argument(help="Its id, or the file that was downloaded.")],
    keys: Annotated[
        Path | None, typer.Option(help="Verify without a portal: what `nvlhub certificate keys --json` printed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell whether a certificate counts; the status is 1 when it does not."""
    file = Path(certificate)
    if not file.is_file():
        if keys is not None:
            fail(f"{certificate}: no such file. Without a portal only a downloaded certificate can be verified.")
        view = call("GET", path_of("certificates", certificate), openly=True)
        view |= _said(view["document"], view["verdict"])
    else:
        signed = _signed(file)
        view = _offline(signed, keys) if keys is not None else call("POST", "/verify", json=signed, openly=True)
        view |= _said(signed["document"], view["verdict"])
    tell(view, as_json=as_json)
    if view["verdict"] != "valid":
        raise typer.Exit(1)


def _signed(file: Path) -> dict[str, str]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return {name: str(told[name]) for name in ("document", "signature")}
    except (OSError, ValueError, KeyError, TypeError):
        fail(f"{file}: not a downloaded certificate. It is JSON with `document` and `signature`.")


def _offline(signed: dict[str, str], keys: Path) -> dict[str, Any]:
    try:
        known = json.loads(keys.read_text(encoding="utf-8"))
        by_id = {key["id"]: key for key in known["keys"]}
        revoked = {one["id"] for one in known["revoked"]}
    except (OSError, ValueError, KeyError, TypeError):
        fail(f"{keys}: not a list of keys. Make one with `nvlhub certificate keys --json`.")
    told = read(signed["document"])
    # Whoever wrote the file may have put anything in their place.
    name, key = str(told.get("id", "")), str(told.get("key", ""))
    verdict = judge(signed["document"], signed["signature"], by_id.get(key), revoked=name in revoked)
    return {"id": name, "verdict": verdict.value, "key": key}


def _said(document: str, verdict: str) -> dict[str, Any]:
    """Return what a certificate says, where the portal signed it: of any other, or of a key that others know, nothing counts."""
    if verdict not in {"valid", "revoked"}:
        return {}
    told = read(document)
    return {
        "name": told["name"], "name_latin": told["name_latin"], "course": told["course"]["title"], "run": told["run"]["name"],
        "score": f"{told['score'] / 10:g} %", "achieved": told["achieved"], "issuer": told["issuer"],
    }  # fmt: skip


@certificates.command("revoke")
def certificate_revoke(certificate: str, reason: Annotated[str, typer.Option()], as_json: Json = False) -> None:
    """Revoke a certificate of a run that you teach, or that your programme paid for."""
    tell(call("POST", f"/certificates/{certificate}/revoke", json={"reason": reason}), as_json=as_json)


@certificates.command("keys")
def certificate_keys(as_json: Json = False) -> None:
    """Show all public keys; with --json also what was revoked, to verify elsewhere."""
    found = call("GET", "/certificates/keys", openly=True)
    if as_json:
        tell(found, as_json=True)
        return
    show(found["keys"], fields("id", "made_at", "retired_at", "broken_at", "public"), as_json=False)


@certificates.command("rotate")
def certificate_rotate(as_json: Json = False) -> None:
    """Make a new key to sign with; what the old one signed stays valid."""
    tell(call("POST", "/certificates/keys"), as_json=as_json)


@certificates.command("break-key")
def certificate_break_key(key: str, as_json: Json = False) -> None:
    """Say that a key became known to others: nothing that it signed counts any more."""
    tell(call("DELETE", f"/certificates/keys/{key}"), as_json=as_json)

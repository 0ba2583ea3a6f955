"""Second factors in the scene of secrets: an app, a passkey and recovery codes, used and misused over HTTP."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from testing.authenticator import Authenticator
from testing.authenticator_app import AuthenticatorApp
from testing.people import Browser
from testing.traces import random_secret, short_code, trace
from tests.e2e.secrets_scene import EVE, PASSWORDS, REFUSED, Scene

FACTORS = "/v1/auth/second-factors"
LOG_IN = "/v1/auth/login"
EVES = {"email": EVE, "password": PASSWORDS["Eve's"]}


async def second_factors(scene: Scene) -> None:
    """Eve adds one of each, signs in with each, and fails to."""
    page = Browser(http=scene.http)
    assert (await page.log_in(EVE, PASSWORDS["Eve's"])).status_code == 200
    app = await _app(scene, page)
    device = await _passkey(scene, page)
    made = await page.send("POST", "/v1/auth/recovery-codes", {})
    codes = _seen_codes(scene, made.json()["recovery_codes"])
    for shown in ({"code": await _code(scene, app)}, {"passkey": await _answer(scene, device)}, {"code": codes[0]}):
        visit = Browser(http=scene.http)
        assert (await visit.send("POST", LOG_IN, {**EVES, "kind": "browser", **shown})).status_code == 200
        scene.drew("a cookie after a second factor", visit.cookie)
    proof = {"password": PASSWORDS["Eve's"], "passkey": await _answer(scene, device)}
    assert (await page.send("POST", "/v1/auth/confirm-password", proof)).status_code == 200
    await _badly(scene, page, device, codes)
    assert (await page.send("GET", f"{FACTORS}?code={await _code(scene, app)}")).status_code in REFUSED


async def _code(scene: Scene, app: AuthenticatorApp) -> str:
    code = await app.code()
    scene.saw(short_code("an app's code", code, field="code"))
    return code


async def _app(scene: Scene, page: Browser) -> AuthenticatorApp:
    offer = (await page.send("POST", f"{FACTORS}/totp", {"name": "Telephone"})).json()
    scene.saw(*random_secret("an app's secret", offer["secret"]))
    app = AuthenticatorApp(offer["secret"])
    for code, status in ((offer["secret"][:16], 422), (await _code(scene, app), 200)):
        answer = await page.send("POST", f"{FACTORS}/totp/confirm", {"id": offer["id"], "code": code})
        assert answer.status_code == status, answer.text
    _seen_codes(scene, answer.json()["recovery_codes"])
    return app


async def _passkey(scene: Scene, page: Browser) -> Authenticator:
    device = Authenticator(str(scene.http.base_url).rstrip("/"))
    options = (await page.send("POST", f"{FACTORS}/passkey", {})).json()
    _seen_challenge(scene, options)
    body = {"name": "Key on Eve's ring", "answer": device.create(options)}
    for status in (200, 409):
        assert (await page.send("POST", f"{FACTORS}/passkey/confirm", body)).status_code == status
    return device


async def _answer(scene: Scene, device: Authenticator) -> str:
    asked = await Browser(http=scene.http).send("POST", "/v1/auth/passkey-options", EVES)
    assert asked.status_code == 200, asked.text
    _seen_challenge(scene, asked.json())
    answer = device.get(asked.json())
    scene.saw(trace("a passkey's signature", json.loads(answer)["response"]["signature"]))
    return answer


async def _badly(scene: Scene, page: Browser, device: Authenticator, codes: Sequence[str]) -> None:
    """What was shown once, what is shown in the wrong field, and what belongs into a body, in the URL."""
    answer = await _answer(scene, device)
    wrong: Sequence[tuple[Mapping[str, object], int]] = (
        ({"code": codes[0]}, 401),
        ({"code": answer[:32]}, 401),
        ({"passkey": codes[1]}, 401),
        ({"code": answer}, 422),
        ({codes[1]: "code"}, 422),
        ({"kind": codes[1]}, 422),
    )
    for shown, status in wrong:
        told = await page.send("POST", "/v1/auth/confirm-password", {"password": PASSWORDS["Eve's"], **shown})
        assert told.status_code == status, told.text
    for path in (f"{FACTORS}/{codes[1]}", f"{FACTORS}?code={codes[1]}", f"/v1/products?recovery_code={codes[1]}"):
        assert (await page.send("GET", path)).status_code in (*REFUSED, 404, 405)


def _seen_codes(scene: Scene, codes: Sequence[str]) -> Sequence[str]:
    for each in codes:
        scene.saw(trace("a recovery code", each, guessable=True))
        scene.saw(trace("a recovery code without its dash", each.replace("-", ""), guessable=True))
    return codes


def _seen_challenge(scene: Scene, options: Mapping[str, Any]) -> None:
    encoded = str(options["challenge"])
    challenge = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    scene.drew("a passkey's challenge", challenge)

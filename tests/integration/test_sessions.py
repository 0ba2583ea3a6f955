"""Sessions in the database: the table of refreshing row by row, races, ends, and the browser's cookie."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from domain.identity.refreshing import EndReason, Refreshing, SessionKind
from infra.identity.keyring import Keyring
from infra.identity.sessions import csrf_token, is_csrf_token
from testing.credentials import DAY, MASTER_KEY, NOW, SECOND, USER, Credentials, open_credentials
from testing.services import FreshDatabase

OTHER = "usr_01kjm00000000000000000bob0"


@pytest.fixture
async def credentials(database: FreshDatabase) -> AsyncIterator[Credentials]:
    async with open_credentials(database.dsn) as opened:
        yield opened


async def rotated(credentials: Credentials, times: int) -> list[str]:
    """A session's tokens, one a minute, from the first to the current one."""
    tokens = [(await credentials.sessions.start(USER, SessionKind.PROGRAM, NOW)).secret]
    for minute in range(1, times + 1):
        refreshed = await credentials.sessions.refresh(tokens[-1], NOW + minute * 60 * SECOND)
        assert refreshed.outcome is Refreshing.NEXT
        assert refreshed.token is not None
        tokens.append(refreshed.token)
    return tokens


async def test_the_current_token_gives_the_next_one(credentials: Credentials) -> None:
    tokens = await rotated(credentials, 3)
    assert len(set(tokens)) == 4
    assert [token.split("_")[2] for token in tokens] == ["1", "2", "3", "4"]


async def test_a_lost_answer_is_given_again_within_ten_seconds(credentials: Credentials) -> None:
    tokens = await rotated(credentials, 2)
    again = await credentials.sessions.refresh(tokens[1], NOW + 129 * SECOND)
    assert (again.outcome, again.token) == (Refreshing.AGAIN, tokens[2])
    assert (await credentials.sessions.refresh(tokens[2], NOW + 180 * SECOND)).outcome is Refreshing.NEXT


@pytest.mark.parametrize(("which", "after_s"), [(1, 130), (0, 121), (0, 3600)])
async def test_an_older_token_ends_the_session_and_is_told_once(
    credentials: Credentials, which: int, after_s: int
) -> None:
    tokens = await rotated(credentials, 2)
    now = NOW + after_s * SECOND
    reused = await credentials.sessions.refresh(tokens[which], now)
    assert reused.outcome is Refreshing.REUSED
    assert reused.token is None
    assert reused.session is not None
    assert reused.session.user_id == USER
    # The thief and the robbed are both out, and neither is told of a reuse a second time.
    for token in tokens:
        assert (await credentials.sessions.refresh(token, now)).outcome is Refreshing.OVER
    assert await credentials.sessions.by_id(reused.session.session_id, now) is None
    reason = await credentials.pool.fetchval("SELECT end_reason FROM access.sessions")
    assert reason == EndReason.TOKEN_REUSED


async def test_twenty_refreshes_at_once_give_one_new_generation(database: FreshDatabase) -> None:
    async with open_credentials(database.dsn) as one, open_credentials(database.dsn) as other:
        token = (await one.sessions.start(USER, SessionKind.PROGRAM, NOW)).secret
        for generation in range(2, 7):
            now = NOW + generation * 60 * SECOND
            found = await asyncio.gather(
                *(process.sessions.refresh(token, now) for _ in range(10) for process in (one, other))
            )
            assert Counter(each.outcome for each in found) == {Refreshing.NEXT: 1, Refreshing.AGAIN: 19}
            assert len({each.token for each in found}) == 1
            token = found[0].token or ""
            assert await one.pool.fetchval("SELECT generation FROM access.sessions") == generation


async def test_twenty_reuses_at_once_are_told_once(database: FreshDatabase) -> None:
    async with open_credentials(database.dsn) as one, open_credentials(database.dsn) as other:
        tokens = await rotated(one, 2)
        now = NOW + 3600 * SECOND
        found = await asyncio.gather(
            *(process.sessions.refresh(tokens[0], now) for _ in range(10) for process in (one, other))
        )
        assert Counter(each.outcome for each in found) == {Refreshing.REUSED: 1, Refreshing.OVER: 19}


async def test_what_is_no_token_of_ours_changes_nothing(credentials: Credentials) -> None:
    tokens = await rotated(credentials, 2)
    session, generation, proof = tokens[2].removeprefix("tbr_").split("_")
    other_char = "b" if proof[0] == "a" else "a"
    for forged in (
        "",
        "tbr_",
        "tbr_" * 100_000,
        f"tbr_{session}_{generation}_{other_char}{proof[1:]}",
        f"tbr_{session}_1_{proof}",
        f"tbr_{session}_0{generation}_{proof}",
        f"tbr_{session}_{generation}_{proof}\n",
        f"tbr_{session}_{generation}_{proof.upper()}",
        f"tbr_{session}_99999999999999999999_{proof}",
        f"tbr_{session[::-1]}_{generation}_{proof}",
    ):
        assert (await credentials.sessions.refresh(forged, NOW + 121 * SECOND)).outcome is Refreshing.OVER
    assert (await credentials.sessions.refresh(tokens[2], NOW + 122 * SECOND)).outcome is Refreshing.NEXT


async def test_a_session_slides_for_seven_days_and_ends_after_thirty(credentials: Credentials) -> None:
    started = await credentials.sessions.start(USER, SessionKind.PROGRAM, NOW)
    token, now = started.secret, NOW
    for _ in range(4):
        now += 7 * DAY - SECOND
        refreshed = await credentials.sessions.refresh(token, now)
        assert refreshed.outcome is Refreshing.NEXT
        token = refreshed.token or ""
    assert (await credentials.sessions.refresh(token, NOW + 30 * DAY)).outcome is Refreshing.OVER
    idle = await credentials.sessions.start(USER, SessionKind.PROGRAM, NOW)
    assert (await credentials.sessions.refresh(idle.secret, NOW + 7 * DAY)).outcome is Refreshing.OVER


async def test_a_cookie_finds_its_session_until_it_was_idle_for_seven_days(credentials: Credentials) -> None:
    started = await credentials.sessions.start(USER, SessionKind.BROWSER, NOW)
    session_id = started.session.session_id
    assert await credentials.sessions.by_cookie(started.secret, NOW + 7 * DAY - SECOND) is not None
    assert await credentials.sessions.by_cookie(started.secret, NOW + 7 * DAY) is None
    for days in range(6, 30, 6):
        await credentials.sessions.seen(session_id, NOW + days * DAY)
    assert await credentials.sessions.by_cookie(started.secret, NOW + 30 * DAY - SECOND) is not None
    assert await credentials.sessions.by_cookie(started.secret, NOW + 30 * DAY) is None
    for forged in ("", "a" * 51, "A" * 52, started.secret[::-1], started.secret + "\n"):
        assert await credentials.sessions.by_cookie(forged, NOW) is None


async def test_a_change_of_rights_gives_a_new_secret_and_the_old_one_finds_nothing(credentials: Credentials) -> None:
    started = await credentials.sessions.start(USER, SessionKind.BROWSER, NOW)
    renewed = await credentials.sessions.renew_cookie(started.session.session_id, NOW + SECOND)
    assert renewed not in (None, started.secret)
    assert await credentials.sessions.by_cookie(started.secret, NOW + SECOND) is None
    found = await credentials.sessions.by_cookie(renewed or "", NOW + SECOND)
    assert found is not None
    assert found.session_id == started.session.session_id
    assert await credentials.sessions.end(found.session_id, EndReason.LOGGED_OUT, NOW + SECOND)
    assert await credentials.sessions.renew_cookie(found.session_id, NOW + SECOND) is None


async def test_a_cookie_is_no_refresh_token_and_a_program_has_no_cookie(credentials: Credentials) -> None:
    browser = await credentials.sessions.start(USER, SessionKind.BROWSER, NOW)
    program = await credentials.sessions.start(USER, SessionKind.PROGRAM, NOW)
    assert (await credentials.sessions.refresh(browser.secret, NOW)).outcome is Refreshing.OVER
    assert await credentials.sessions.by_cookie(program.secret, NOW) is None
    assert await credentials.sessions.renew_cookie(program.session.session_id, NOW) is None


async def test_a_new_log_in_never_goes_on_under_an_id_or_secret_that_was_there(credentials: Credentials) -> None:
    started = [await credentials.sessions.start(USER, SessionKind.BROWSER, NOW) for _ in range(3)]
    assert len({each.secret for each in started}) == 3
    assert len({each.session.session_id for each in started}) == 3


async def test_all_of_a_users_sessions_end_but_the_one_that_asks(credentials: Credentials) -> None:
    mine = [await credentials.sessions.start(USER, kind, NOW) for kind in (*SessionKind, *SessionKind)]
    theirs = await credentials.sessions.start(OTHER, SessionKind.BROWSER, NOW)
    kept = mine[0].session.session_id
    ended = await credentials.sessions.end_all(USER, EndReason.PASSWORD_CHANGED, NOW + SECOND, but=kept)
    assert sorted(ended) == sorted(each.session.session_id for each in mine[1:])
    assert [each.session_id for each in await credentials.sessions.of_user(USER, NOW + SECOND)] == [kept]
    assert await credentials.sessions.by_cookie(theirs.secret, NOW + SECOND) is not None
    assert await credentials.sessions.end_all(USER, EndReason.REVOKED, NOW + SECOND) == [kept]
    assert await credentials.sessions.end(kept, EndReason.REVOKED, NOW + SECOND) is False


async def test_an_entered_password_and_a_use_are_noted(credentials: Credentials) -> None:
    started = await credentials.sessions.start(USER, SessionKind.BROWSER, NOW)
    await credentials.sessions.confirm(started.session.session_id, NOW + 60 * SECOND)
    await credentials.sessions.seen(started.session.session_id, NOW + 90 * SECOND)
    await credentials.sessions.seen(started.session.session_id, NOW + 30 * SECOND)  # late news
    found = await credentials.sessions.by_cookie(started.secret, NOW + 91 * SECOND)
    assert found is not None
    assert (found.confirmed_at, found.seen_at) == (NOW + 60 * SECOND, NOW + 90 * SECOND)


async def test_old_sessions_are_dropped(credentials: Credentials) -> None:
    await credentials.sessions.start(USER, SessionKind.BROWSER, NOW)
    await credentials.sessions.start(USER, SessionKind.BROWSER, NOW + 2 * DAY)
    await credentials.sessions.forget_old(NOW + 31 * DAY)
    assert await credentials.pool.fetchval("SELECT count(*) FROM access.sessions") == 1


def test_a_csrf_token_is_of_one_session() -> None:
    keyring, other = Keyring(MASTER_KEY), Keyring(MASTER_KEY[::-1])
    token = csrf_token(keyring, "ses_1")
    assert is_csrf_token(keyring, "ses_1", token)
    for session_id, presented in (("ses_2", token), ("ses_1", None), ("ses_1", ""), ("ses_1", token + "a")):
        assert not is_csrf_token(keyring, session_id, presented)
    assert not is_csrf_token(keyring, "ses_1", csrf_token(other, "ses_1"))

"""Why the server ends a conversation.

Codes 4000 to 4499 ask the client to come back, from 4500 on it need not try: it would be refused again.
"""

from typing import Literal, TypeAlias

Reason: TypeAlias = Literal[
    "banned", "binary", "flooding", "idle", "restarting", "session_ended", "token_expired", "too_slow", "wrong_token"
]

CODES: dict[Reason, int] = {
    "restarting": 1012,
    "binary": 1003,
    "too_slow": 4008,
    "idle": 4010,
    "flooding": 4029,
    "token_expired": 4401,
    "session_ended": 4402,
    "banned": 4503,
    "wrong_token": 4504,
}
TEXTS: dict[Reason, str] = {
    "restarting": "This node stops. Connect again, to resume where you stand.",
    "binary": "Only text frames are understood.",
    "too_slow": "Too much was waiting to be read.",
    "idle": "Nothing was heard for too long.",
    "flooding": "Too many frames came.",
    "token_expired": "The token has expired.",
    "session_ended": "The session has ended.",
    "banned": "User is banned.",
    "wrong_token": "The token is another user's, or no longer for this kind of client.",
}

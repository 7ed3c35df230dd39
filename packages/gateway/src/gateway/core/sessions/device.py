"""What a session's device is called: what it says of itself, cleaned, or else browser and system by its User-Agent."""

from gateway.core.front_door.headers import RawHeaders
from gateway.core.sessions.session_token import readable

MAX_NAME_LENGTH = 64
UNKNOWN = "Unknown device"

DEVICE_NAME = b"x-device-name"
USER_AGENT = b"user-agent"

_BROWSERS = (
    ("edg/", "Edge"),
    ("edga/", "Edge"),
    ("edgios/", "Edge"),
    ("opr/", "Opera"),
    ("samsungbrowser/", "Samsung Internet"),
    ("firefox/", "Firefox"),
    ("fxios/", "Firefox"),
    ("crios/", "Chrome"),
    ("chrome/", "Chrome"),
    ("safari/", "Safari"),
)
"""In this order, since most name those they imitate as well."""

_SYSTEMS = (
    ("iphone", "iPhone"),
    ("ipad", "iPad"),
    ("android", "Android"),
    ("windows", "Windows"),
    ("cros ", "ChromeOS"),
    ("mac os x", "macOS"),
    ("linux", "Linux"),
)


def device_name(headers: RawHeaders) -> str:
    listed = list(headers)
    own = named(listed, DEVICE_NAME)[:MAX_NAME_LENGTH].strip()
    return own or described(named(listed, USER_AGENT)) or UNKNOWN


def named(headers: RawHeaders, name: bytes) -> str:
    """One visible line; bytes that are no UTF-8 count as Latin-1, which is what browsers can send."""
    value = next((value for key, value in headers if key == name), b"")[: 16 * MAX_NAME_LENGTH]
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return readable(text)


def described(user_agent: str) -> str:
    lowered = user_agent.casefold()
    browser = next((name for sign, name in _BROWSERS if sign in lowered), "")
    system = next((name for sign, name in _SYSTEMS if sign in lowered), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or user_agent[:MAX_NAME_LENGTH].strip()

"""What Prometheus is told of chathub. Labels come from fixed lists: never a user, a channel or a text."""

from prometheus_client import Counter, Gauge, Histogram

# Prometheus' own registry is one a process, so its metrics are too.
SOCKETS = Gauge("chathub_sockets", "Sockets that are open.")
REFUSED = Counter("chathub_connects_refused", "Connects that were refused, by why.", ("code",))
CLOSED = Counter("chathub_sockets_closed", "Sockets that ended, by why.", ("reason",))
FRAMES = Counter("chathub_frames_received", "Text frames from clients.")
APPENDED = Counter("chathub_messages", "What became of messages of clients.", ("outcome",))
APPEND_SECONDS = Histogram("chathub_append_seconds", "From a message to its acknowledgement by the log.")
DELIVERED = Counter("chathub_entries_delivered", "Entries of the log that came here, in their order.")
GAPS = Counter("chathub_gaps_filled", "Stretches of the log that were missed live and read from it.")
POSITION = Gauge("chathub_position", "Up to where in the log this node has delivered.")
PERSISTED = Counter("chathub_messages_persisted", "Messages that PostgreSQL took.")
DEAD_LETTERS = Counter("chathub_messages_set_aside", "Messages that PostgreSQL would not take.")

// A command between two agents that counts the messages of barriers on their link.
#pragma once

namespace wireup::bench {

// Runs `command` with its stdin and stdout, which are a link (wire/link_framer.h), and passes on all bytes.
// At the end it writes to `file`, as JSON: {"up": {"messages", "bytes"}, "down": {...}}: the Fences from the
// command and the Releases to it, and the bytes of their keys. Returns the exit code.
int count_link(const char* file, char** command);

}  // namespace wireup::bench

// Writes a file atomically: a reader sees the old content or the new content, even if the writer is killed.
//
// A symbolic link is kept, and its target is written, even if the target does not exist yet. An existing file
// keeps its mode, and its owner if this process may set it. Other hard links to it keep the old content. A
// device, a pipe and an open file of a process (/dev/stdout, /dev/fd/3) are written directly. A FIFO must
// have a reader, else the error is ENXIO.
//
// The new file has no name until it is complete (O_TMPFILE), so a killed writer leaves nothing. In two cases
// it has the temporary name FILE.PID: on a file system without unnamed files (NFS), while it is written; and
// if FILE exists, between linkat(2) and rename(2).
//
// Threads: any.
#pragma once

#include <string>
#include <string_view>

namespace wireup::os {

// Throws OsError if write_whole() would fail, as far as this can be checked before writing.
void check_whole(const std::string& path);

// Throws OsError. The old content is then unchanged, unless the file is written directly.
void write_whole(const std::string& path, std::string_view content);

}  // namespace wireup::os

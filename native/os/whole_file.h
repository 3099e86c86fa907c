// Writing a file as a whole: whatever ends the writer, a reader finds the old content or the new one, never a
// part of it.
//
// A symbolic link stays, and what it points to is written, also where that is not there yet. A file that is
// there keeps its mode, and its owner where we may set it; other names (hard links) of it keep the old
// content. A device, a pipe and a stream of some process (/dev/stdout, /dev/fd/3) are written to as they are.
//
// The new content has no name until it is complete (O_TMPFILE), so a killed writer leaves nothing behind. Two
// cases need a second name for a moment, FILE.PID: a file system that has no unnamed files (NFS), for as long
// as it takes to write; and a file that is there already, between the two system calls that give the new one
// its name.
//
// Threads: any.
#pragma once

#include <string>
#include <string_view>

namespace wireup::os {

// Throws OsError where write_whole() could not write there, as far as that can be told before.
void check_whole(const std::string& path);

// Throws OsError. The old content is then still there, except of what is written to as it is.
void write_whole(const std::string& path, std::string_view content);

}  // namespace wireup::os

// Limits of the PMI-1 wire. All sizes in bytes, with the terminator that a C client needs.
#pragma once

#include <cstddef>

namespace wireup::wire {

// 256/64/1024 are what every PMI-1 server announces; a larger value length crashes MPICH and MVAPICH2
// (flux-core issue 4778), which size their buffers for it.
inline constexpr std::size_t kMaxKvsname = 256;
inline constexpr std::size_t kMaxKey = 64;
inline constexpr std::size_t kMaxValue = 1024;

// One PMI-1 line with its newline: the longest a client may say is a put of the three limits and its words.
inline constexpr std::size_t kMaxLine = 2048;

// All lines of one `mcmd=` block. A spawn carries the arguments and info of a program: generous for those,
// small enough that a block without end is noticed.
inline constexpr std::size_t kMaxBlock = 1 << 20;

}  // namespace wireup::wire

// Limits of the wire. All sizes in bytes, with the terminator that a C client needs.
#pragma once

#include <cstddef>

namespace wireup::wire {

// 256/64/1024 are what every PMI-1 server announces; a larger value length crashes MPICH and MVAPICH2
// (flux-core issue 4778), which size their buffers for it.
inline constexpr std::size_t kMaxKvsname = 256;
inline constexpr std::size_t kMaxKey = 64;
inline constexpr std::size_t kMaxValue = 1024;

// PMI_process_mapping. MPICH up to 4.1 takes a value of 1024 - 256 - 64 - 30 bytes from a server with our
// limits, however many that allows, and one that is longer makes 4.0.2 abort in MPI_Init (PMI_Init() in its
// client's simple_pmi.c).
inline constexpr std::size_t kMaxProcessMapping = 674;

// One PMI-1 line with its newline: the longest a client may say is a put of the three limits and its words.
inline constexpr std::size_t kMaxLine = 2048;

// All blocks of one `mcmd=` command. A spawn carries the arguments and info of a program: generous for those,
// small enough that a block without end is noticed.
inline constexpr std::size_t kMaxBlock = 4 << 20;

// A PMI-2 frame begins with its length in six characters, so no frame is longer than they can say.
inline constexpr std::size_t kFrameHeader = 6;
inline constexpr std::size_t kMaxFrame = 999'999;

}  // namespace wireup::wire

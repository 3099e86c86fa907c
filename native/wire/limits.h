// Limits of the PMI protocol. All sizes are in bytes. Sizes of texts include the terminator that a C client
// needs.
#pragma once

#include <cstddef>

namespace wireup::wire {

// Every PMI-1 server announces 256, 64 and 1024. A larger value length crashes MPICH and MVAPICH2, which have
// buffers of this size (flux-core issue 4778).
inline constexpr std::size_t kMaxKvsname = 256;
inline constexpr std::size_t kMaxKey = 64;
inline constexpr std::size_t kMaxValue = 1024;

// The limit of the value of PMI_process_mapping. MPICH up to 4.1 accepts at most 1024 - 256 - 64 - 30 bytes,
// whatever the server announces. A longer value makes MPICH 4.0.2 abort in MPI_Init (PMI_Init() in its
// simple_pmi.c).
inline constexpr std::size_t kMaxProcessMapping = 674;

// One PMI-1 line with its newline. The longest line of a correct client is a put with all three texts at
// their limits, which needs less than 1500 bytes.
inline constexpr std::size_t kMaxLine = 2048;

// All blocks of one `mcmd=` command together. A spawn carries the arguments and info of its programs. The
// limit is generous for those, and stops a block that never ends.
inline constexpr std::size_t kMaxBlock = 4 << 20;

// A PMI-2 frame begins with its length in six decimal characters, which limits its size.
inline constexpr std::size_t kFrameHeader = 6;
inline constexpr std::size_t kMaxFrame = 999'999;

}  // namespace wireup::wire

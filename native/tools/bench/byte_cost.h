// Measures what an agent takes for a byte of keys, for the model of a fence.
#pragma once

namespace wireup::bench {

// The processor time for each byte, in nanoseconds: the engine, the messages, and the kernel's copy.
struct ByteCost {
  double receive = 0;
  double send = 0;
};
// It is that of large releases, because small fences are too short to show it.
ByteCost measure_byte_cost();

}  // namespace wireup::bench

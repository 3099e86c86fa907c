// The floor of `wireup bench fence`: a tree of processes that do nothing but send each other the bytes of
// fences with libzmq. Each sends its bytes and those of its children to its parent, and what the parent
// sends back to its children.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wireup::bench {

struct ZmqTreePlan {
  std::uint32_t hosts = 1;
  std::uint32_t width = 0;  // 0: all are children of host 0
  std::size_t bytes = 0;    // of each host
  std::uint32_t count = 1;  // of fences
  bool curve = false;       // encrypted
  bool ranks = false;       // each process serves one: a process that enters fences and leaves them
};

// Prints on stdout, as JSON: {"fenceNs": [...], "rootNs": N, "innerNs": N, "leafNs": N}.
// fenceNs: from the last process (or rank) that enters a fence to the last one that leaves it. The others:
// processor time for a fence, user and system, of the root, and of the inner process and the leaf with the
// most; 0: there is none. Returns the exit code.
int zmq_tree(const ZmqTreePlan& plan);

}  // namespace wireup::bench

// How the agent of another host that one command has started with many others gets its place in the tree: it
// reads the boot record from its stdin, and joins (runtime/zmq_joins.h).
//
// Threads: the reactor's.
#pragma once

#include <memory>
#include <string>

#include "os/reactor.h"
#include "runtime/zmq_hub.h"
#include "runtime/zmq_parent.h"

namespace wireup::agent {

// A host's place in a tree over ZeroMQ.
struct JoinedTree {
  runtime::ZmqParentOptions parent;
  std::unique_ptr<runtime::ZmqParentPort> port;  // to the parent; null: it is to be made with `parent`
  std::unique_ptr<runtime::ZmqHub> hub;          // of its children; null: it has none
};

// The name by which the launcher knows this host: srun sets SLURMD_NODENAME.
std::string own_name();

// Runs the reactor until this host has joined. If stdin ends before that, the launcher is gone. Throws
// std::exception: why the host could not join.
JoinedTree join_tree(os::Reactor& reactor);

}  // namespace wireup::agent

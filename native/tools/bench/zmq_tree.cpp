#include "tools/bench/zmq_tree.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <new>
#include <string>
#include <vector>

#include "os/zmq_library.h"
#include "tools/bench/table.h"
#include "tools/bench/util.h"

namespace wireup::bench {
namespace {

using os::ZmqLibrary;

// The processes share it. An array follows it, see Shared::entered.
struct Process {
  std::atomic<std::uint32_t> port;  // 0: it does not listen yet
  std::atomic<std::int64_t> processor;
};

struct CurveKeys {
  std::array<char, 41> public_key{};
  std::array<char, 41> secret_key{};
};

std::int64_t own_processor_ns() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto ns = [](const timeval& time) {
    return (std::int64_t{time.tv_sec} * 1'000'000 + time.tv_usec) * 1000;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

template <typename T>
T* share(std::size_t count) {
  void* memory =
      ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) check(-1, "mmap");
  return new (memory) T[count]{};
}

void raise_to(std::atomic<std::int64_t>& most, std::int64_t value) {
  for (std::int64_t seen = most.load(); seen < value && !most.compare_exchange_weak(seen, value);) continue;
}

class Tree {
 public:
  Tree(const ZmqTreePlan& plan, const ZmqLibrary& library)
      : plan_(plan),
        zmq_(library),
        width_(plan.width == 0 ? plan.hosts : plan.width),
        processes_(share<Process>(plan.hosts)),
        entered_(share<std::atomic<std::int64_t>>(plan.count)),
        left_(share<std::atomic<std::int64_t>>(plan.count)) {
    if (plan.curve) require(zmq_.zmq_curve_keypair(keys_.public_key.data(), keys_.secret_key.data()));
  }

  int run() {
    const pid_t root = ::getpid();
    std::vector<pid_t> others;
    for (std::uint32_t number = 1; number < plan_.hosts; ++number) {
      const pid_t child = check(::fork(), "fork");
      if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != root) std::_Exit(1);
        be(number);
        std::_Exit(0);
      }
      others.push_back(child);
    }
    be(0);
    bool failed = false;
    for (const pid_t child : others) {
      int status = 0;
      check(::waitpid(child, &status, 0), "waitpid");
      failed = failed || status != 0;
    }
    if (failed) return 1;
    print();
    return 0;
  }

 private:
  std::uint32_t children_of(std::uint32_t number) const {
    const std::uint64_t before = std::uint64_t{number} * width_ + 1;
    return before >= plan_.hosts
               ? 0
               : static_cast<std::uint32_t>(std::min<std::uint64_t>(width_, plan_.hosts - before));
  }

  int require(int result) const {
    if (result >= 0) return result;
    std::fprintf(stderr, "wireup-bench: libzmq: %s\n", zmq_.zmq_strerror(zmq_.zmq_errno()));
    std::_Exit(1);
  }

  void set(void* socket, int option, int value) const {
    require(zmq_.zmq_setsockopt(socket, option, &value, sizeof value));
  }
  void set_key(void* socket, int option, const std::array<char, 41>& key) const {
    require(zmq_.zmq_setsockopt(socket, option, key.data(), key.size()));
  }

  void* make_socket(void* context, int type) const {
    void* socket = zmq_.zmq_socket(context, type);
    if (socket == nullptr) require(-1);
    set(socket, os::kZmqSendHwm, 0);
    set(socket, os::kZmqReceiveHwm, 0);
    set(socket, os::kZmqLinger, -1);
    return socket;
  }

  void* listen(void* context, std::uint32_t number) const {
    void* router = make_socket(context, os::kZmqRouter);
    set(router, os::kZmqBacklog, 2048);
    set(router, os::kZmqRouterMandatory, 1);
    if (plan_.curve) {
      set(router, os::kZmqCurveServer, 1);
      set_key(router, os::kZmqCurveSecretKey, keys_.secret_key);
    }
    require(zmq_.zmq_bind(router, "tcp://127.0.0.1:*"));
    std::array<char, 64> endpoint{};
    std::size_t size = endpoint.size();
    require(zmq_.zmq_getsockopt(router, os::kZmqLastEndpoint, endpoint.data(), &size));
    const std::string text = endpoint.data();
    std::atomic<std::uint32_t>& port = processes_[number].port;
    port.store(static_cast<std::uint32_t>(std::stoul(text.substr(text.rfind(':') + 1))));
    wake_all(port);
    return router;
  }

  void* connect(void* context, std::uint32_t number) const {
    std::atomic<std::uint32_t>& port = processes_[(number - 1) / width_].port;
    constexpr long kLookMs = 1000;
    while (port.load() == 0) wait_on(port, 0, kLookMs);
    void* dealer = make_socket(context, os::kZmqDealer);
    if (plan_.curve) {
      set_key(dealer, os::kZmqCurveServerKey, keys_.public_key);
      set_key(dealer, os::kZmqCurvePublicKey, keys_.public_key);
      set_key(dealer, os::kZmqCurveSecretKey, keys_.secret_key);
    }
    require(zmq_.zmq_connect(dealer, ("tcp://127.0.0.1:" + std::to_string(port.load())).c_str()));
    return dealer;
  }

  std::string receive(void* socket) const {
    os::ZmqRawMessage message;
    require(zmq_.zmq_msg_init(&message));
    require(zmq_.zmq_msg_recv(&message, socket, 0));
    std::string bytes(static_cast<const char*>(zmq_.zmq_msg_data(&message)), zmq_.zmq_msg_size(&message));
    zmq_.zmq_msg_close(&message);
    return bytes;
  }

  void send(void* socket, const std::string& bytes, int flags = 0) const {
    require(zmq_.zmq_send(socket, bytes.data(), bytes.size(), flags));
  }

  void enter(std::uint32_t fence) const {
    if (fence > 0) raise_to(entered_[fence - 1], now_ns());
  }
  void leave(std::uint32_t fence) const {
    if (fence > 0) raise_to(left_[fence - 1], now_ns());
  }

  // Starts the rank of this process. Returns a socket: the rank sends a byte when it enters a fence, and
  // leaves it when it receives one.
  int start_rank() const {
    std::array<int, 2> ends{};
    check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), "socketpair");
    if (check(::fork(), "fork") != 0) {
      ::close(ends[1]);
      return ends[0];
    }
    ::close(ends[0]);
    for (std::uint32_t fence = 0; fence <= plan_.count; ++fence) {
      enter(fence);
      pass_byte(ends[1], true);
      pass_byte(ends[1], false);
      leave(fence);
    }
    std::_Exit(0);
  }

  // A rank, or its process, ends when the other has died.
  static void pass_byte(int fd, bool out) {
    char byte = 0;
    if ((out ? ::send(fd, &byte, 1, MSG_NOSIGNAL) : ::recv(fd, &byte, 1, 0)) != 1) std::_Exit(1);
  }

  // Takes the part of one process in all fences. A fence before them connects all processes.
  void be(std::uint32_t number) const {
    // As the agents and ranks of a job: the scheduler shares the processors between sessions first.
    if (plan_.ranks) ::setsid();
    const int rank = plan_.ranks ? start_rank() : -1;
    void* context = zmq_.zmq_ctx_new();
    const std::uint32_t children = children_of(number);
    void* router = children == 0 ? nullptr : listen(context, number);
    void* dealer = number == 0 ? nullptr : connect(context, number);
    std::int64_t processor = 0;
    for (std::uint32_t fence = 0; fence <= plan_.count; ++fence) {
      if (fence == 1) processor = own_processor_ns();
      if (rank < 0) {
        enter(fence);
      } else {
        pass_byte(rank, false);
      }
      std::string bytes(plan_.bytes, 'x');
      std::vector<std::string> ids;
      for (std::uint32_t i = 0; i < children; ++i) {
        ids.push_back(receive(router));
        bytes += receive(router);
      }
      if (dealer != nullptr) {
        send(dealer, bytes);
        bytes = receive(dealer);
      }
      for (const std::string& id : ids) {
        send(router, id, os::kZmqSendMore);
        send(router, bytes);
      }
      if (rank < 0) {
        leave(fence);
      } else {
        pass_byte(rank, true);
      }
    }
    // Waits until everything is sent.
    if (router != nullptr) zmq_.zmq_close(router);
    if (dealer != nullptr) zmq_.zmq_close(dealer);
    zmq_.zmq_ctx_term(context);
    processes_[number].processor.store(own_processor_ns() - processor);
  }

  void print() const {
    std::int64_t inner = 0;
    std::int64_t leaf = 0;
    for (std::uint32_t number = 1; number < plan_.hosts; ++number) {
      std::int64_t& most = children_of(number) == 0 ? leaf : inner;
      most = std::max(most, processes_[number].processor.load());
    }
    std::printf("{\"fenceNs\":");
    for (std::uint32_t i = 0; i < plan_.count; ++i)
      std::printf("%c%lld", i == 0 ? '[' : ',', static_cast<long long>(left_[i] - entered_[i]));
    const auto each = [&](std::int64_t all) {
      return static_cast<long long>(all / std::max(plan_.count, 1U));
    };
    std::printf("],\"rootNs\":%lld,\"innerNs\":%lld,\"leafNs\":%lld}\n", each(processes_[0].processor),
                each(inner), each(leaf));
  }

  ZmqTreePlan plan_;
  const ZmqLibrary& zmq_;
  std::uint32_t width_;
  Process* processes_;
  // When the last process enters and leaves each fence.
  std::atomic<std::int64_t>* entered_;
  std::atomic<std::int64_t>* left_;
  CurveKeys keys_;
};

}  // namespace

int zmq_tree(const ZmqTreePlan& plan) {
  // The processes end if the one that started them dies.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (plan.hosts == 0 || plan.count == 0) return 2;
  try {
    const ZmqLibrary& library = ZmqLibrary::get();
    if (plan.curve && library.zmq_has("curve") != 1) {
      std::fputs("wireup-bench: libzmq has no CURVE\n", stderr);
      return 1;
    }
    return Tree(plan, library).run();
  } catch (const os::ZmqMissing& missing) {
    std::fprintf(stderr, "wireup-bench: %s\n", missing.what());
    return 1;
  }
}

}  // namespace wireup::bench

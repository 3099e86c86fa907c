#include "os/io_ring.h"

#include <cerrno>

#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#endif

namespace wireup::os {

#if defined(IORING_FEAT_FAST_POLL)

namespace {

// SINGLE_MMAP: one mapping holds both queues. NODROP: the kernel never drops a result. FAST_POLL came with
// Linux 5.7; IORING_OP_SEND and IORING_OP_RECV came with 5.6.
constexpr unsigned kFeatures = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL;

class Mapping {
 public:
  Mapping(int fd, std::size_t size, off_t offset) : size_(size) {
    memory_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
  }
  ~Mapping() {
    if (*this) ::munmap(memory_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  explicit operator bool() const { return memory_ != MAP_FAILED; }
  template <typename T>
  T* at(std::size_t offset) const {
    return reinterpret_cast<T*>(static_cast<char*>(memory_) + offset);
  }

 private:
  void* memory_;
  std::size_t size_;
};

int enter(int ring, unsigned submit, unsigned complete) {
  return static_cast<int>(
      ::syscall(SYS_io_uring_enter, ring, submit, complete, IORING_ENTER_GETEVENTS, nullptr, 0));
}

}  // namespace

// The kernel moves the head of the submission queue and the tail of the completion queue. This process moves
// the other two.
struct IoRing::Queues {
  Queues(int ring, const io_uring_params& params)
      : rings(ring,
              std::max<std::size_t>(params.sq_off.array + params.sq_entries * sizeof(unsigned),
                                    params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe)),
              IORING_OFF_SQ_RING),
        entries(ring, params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES) {
    if (!*this) return;
    submitted_tail = rings.at<unsigned>(params.sq_off.tail);
    submitted_mask = *rings.at<unsigned>(params.sq_off.ring_mask);
    completed_head = rings.at<unsigned>(params.cq_off.head);
    completed_tail = rings.at<unsigned>(params.cq_off.tail);
    completed_mask = *rings.at<unsigned>(params.cq_off.ring_mask);
    completions = rings.at<io_uring_cqe>(params.cq_off.cqes);
    // Slot i of the submission queue always refers to entry i.
    for (unsigned i = 0; i < params.sq_entries; ++i) rings.at<unsigned>(params.sq_off.array)[i] = i;
  }

  explicit operator bool() const { return rings && entries; }

  void submit(std::span<const SocketCall> calls) {
    unsigned tail = *submitted_tail;
    for (std::size_t i = 0; i < calls.size(); ++i, ++tail) {
      io_uring_sqe& entry = entries.at<io_uring_sqe>(0)[tail & submitted_mask];
      std::memset(&entry, 0, sizeof entry);
      const bool sends = calls[i].kind == SocketCall::Kind::send;
      entry.opcode = sends ? IORING_OP_SEND : IORING_OP_RECV;
      entry.fd = calls[i].fd;
      entry.addr = reinterpret_cast<std::uintptr_t>(calls[i].data);
      entry.len = calls[i].size;
      // Without MSG_DONTWAIT the kernel would wait for the socket instead of returning EAGAIN.
      entry.msg_flags = sends ? MSG_DONTWAIT | MSG_NOSIGNAL : MSG_DONTWAIT;
      entry.user_data = i;
    }
    std::atomic_ref(*submitted_tail).store(tail, std::memory_order_release);
  }

  // Returns the number of results.
  std::size_t collect(std::span<SocketCall> calls) {
    const unsigned tail = std::atomic_ref(*completed_tail).load(std::memory_order_acquire);
    const unsigned first = *completed_head;
    for (unsigned head = first; head != tail; ++head) {
      const io_uring_cqe& completion = completions[head & completed_mask];
      calls[completion.user_data].result = completion.res;
    }
    std::atomic_ref(*completed_head).store(tail, std::memory_order_release);
    return tail - first;
  }

  Mapping rings;
  Mapping entries;
  unsigned* submitted_tail;
  unsigned submitted_mask;
  unsigned* completed_head;
  unsigned* completed_tail;
  unsigned completed_mask;
  const io_uring_cqe* completions;
};

std::unique_ptr<IoRing> IoRing::open() {
  io_uring_params params{};
  // The kernel makes the fd CLOEXEC.
  UniqueFd ring(static_cast<int>(::syscall(SYS_io_uring_setup, kEntries, &params)));
  if (!ring || (params.features & kFeatures) != kFeatures) return nullptr;
  auto queues = std::make_unique<Queues>(ring.get(), params);
  if (!*queues) return nullptr;
  return std::unique_ptr<IoRing>(new IoRing(std::move(ring), std::move(queues)));
}

bool IoRing::perform(std::span<SocketCall> calls) {
  for (SocketCall& call : calls) call.result = -EAGAIN;
  for (std::size_t at = 0; at < calls.size(); at += kEntries) {
    if (!perform_some(calls.subspan(at, std::min<std::size_t>(kEntries, calls.size() - at)))) return false;
  }
  return true;
}

bool IoRing::perform_some(std::span<SocketCall> calls) {
  queues_->submit(calls);
  std::size_t submitted = 0;
  std::size_t completed = 0;
  while (completed < calls.size()) {
    const int count = enter(ring_.get(), static_cast<unsigned>(calls.size() - submitted),
                            static_cast<unsigned>(calls.size() - completed));
    if (count < 0 && errno != EINTR) return false;
    submitted += static_cast<std::size_t>(std::max(count, 0));
    completed += queues_->collect(calls);
  }
  return true;
}

#else  // this machine's kernel headers are older than Linux 5.7

struct IoRing::Queues {};

std::unique_ptr<IoRing> IoRing::open() { return nullptr; }

bool IoRing::perform(std::span<SocketCall>) { return false; }

#endif

IoRing::IoRing(UniqueFd ring, std::unique_ptr<Queues> queues)
    : ring_(std::move(ring)), queues_(std::move(queues)) {}

IoRing::~IoRing() = default;

}  // namespace wireup::os

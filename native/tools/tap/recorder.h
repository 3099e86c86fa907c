// Writes the recording of one rank. A thread of its own writes to the file, so that a slow disk or reader
// does not delay the rank. Records that the thread cannot write in time are dropped and counted.
//
// A message is written before it is passed on, unless the file is slow: a launcher that ends a job kills the
// proxy as soon as the rank has ended, and the last messages are those that matter.
//
// Threads: all functions are called by one thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "os/fd.h"
#include "tools/tap/find_pmi.h"
#include "tools/tap/proxy.h"
#include "wire/message_splitter.h"
#include "wire/recording.h"

namespace wireup::tap {

struct RecorderOptions {
  wire::RecordForm form = wire::RecordForm::text;
  bool secrets = false;
  std::uint32_t group = 0;
  std::optional<std::uint32_t> rank = {};  // empty: it is not known
  std::optional<std::uint32_t> size = {};
  std::string host;
  std::uint64_t start = 0;  // microseconds of the monotonic clock; set by begin_recording()
};

// Writes the header of a recording. It is called before the program starts, so that also the recording of a
// program that ends at once, with its whole job, has one.
void begin_recording(int file, RecorderOptions& options);

class Recorder final : public ProxyObserver {
 public:
  // As much as a rank sends in its start and a slow reader of stderr may leave. A frame of PMI-2 fits into
  // it.
  static constexpr std::size_t kMaxWaiting = std::size_t{8} << 20;
  // How long a message waits until it is written. After that, no message waits until the thread has caught
  // up.
  static constexpr std::chrono::milliseconds kWriteTimeout{50};
  // Servers accept lines of different lengths. A longer one is recorded in parts.
  static constexpr std::size_t kMaxRecordedLine = std::size_t{64} << 10;

  // Starts the thread. Throws std::system_error.
  Recorder(os::UniqueFd file, RecorderOptions options);
  // Waits until everything is written, or the file takes no more.
  ~Recorder() override;
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // The connection is there. `pid` and `uid` are those of the program.
  void connected(std::string_view transport, std::int32_t pid, std::uint32_t uid);
  // There is no connection.
  void refused(std::string_view transport, std::string_view reason);
  // Bytes that contain the rank's PMI_ID.
  void handshake(wire::Side side, std::string_view bytes) { split(side, bytes, true); }
  void received(wire::Side side, std::string_view bytes) override { split(side, bytes, false); }
  void ended(wire::Side side) override;
  // The connection has ended.
  void closed();

 private:
  wire::RecordHead head() const;
  void split(wire::Side side, std::string_view bytes, bool is_secret);
  void record(wire::Side side, const wire::CutMessage& message, bool is_secret);
  void record(const wire::RecordedEvent& event);
  // Passes a record on to the thread.
  void push(const std::string& record);
  // Under the lock.
  void append_dropped();
  // Waits until the thread has written everything, within kWriteTimeout.
  void settle();
  // The thread.
  void write_all();

  os::UniqueFd file_;
  const RecorderOptions options_;
  wire::MessageSplitter splitter_{kMaxRecordedLine};
  std::optional<wire::Side> first_end_;
  bool began_ = false;
  bool finalized_ = false;
  std::uint64_t dropped_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable written_;
  std::string waiting_;
  bool writing_ = false;
  bool late_ = false;  // the thread has not kept kWriteTimeout, and has not caught up since
  bool over_ = false;
  bool failed_ = false;  // the file takes no more
  std::thread thread_;
};

}  // namespace wireup::tap

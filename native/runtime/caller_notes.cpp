#include "runtime/caller_notes.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <type_traits>
#include <variant>

#include "os/error.h"
#include "os/fd.h"
#include "wire/packet.h"

namespace wireup::runtime {
namespace {

// The limit of a pipe's size for any user (pipe(7)).
constexpr std::size_t kMaxNotes = 1 << 20;

using Packet = std::variant<CallerNotes>;

// The bytes in a pipe whose write end is closed. Does not wait: the starter has written all before the exec.
std::string contents(int fd) {
  std::string text(kMaxNotes, '\0');
  std::size_t size = 0;
  for (;;) {
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, 0) != 1)
      throw os::OsError(EBADF, "read", "fd " + std::to_string(fd) + " (notes of the starter)");
    const ssize_t more = ::read(fd, text.data() + size, text.size() - size);
    if (more < 0) throw os::OsError::last("read", "the notes of the starter");
    if (more == 0) break;
    size += static_cast<std::size_t>(more);
  }
  text.resize(size);
  return text;
}

bool is_pipe(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

}  // namespace
}  // namespace wireup::runtime

namespace wireup::os {

template <typename Codec, typename M>
requires std::is_same_v<std::remove_const_t<M>, Caller>
void fields(Codec& codec, M& m) {
  codec.field(m.ignored_signals);
  codec.field(m.blocked_signals);
  codec.field(m.soft_files);
  codec.field(m.fds);
}

}  // namespace wireup::os

namespace wireup::runtime {

template <typename Codec, typename M>
requires std::is_same_v<std::remove_const_t<M>, CallerNotes>
void fields(Codec& codec, M& m) {
  codec.field(m.caller);
  codec.field(m.hidden);
}

// A pipe and not a file: the caller may have limited the size of files (RLIMIT_FSIZE), also of those in
// memory.
int leave_notes(const CallerNotes& notes) {
  const std::string text = wire::encode_packet(Packet(notes));
  os::FdPair pipe = os::make_pipe();
  os::set_nonblocking(pipe.second.get(), true);
  ::fcntl(pipe.second.get(), F_SETPIPE_SZ, static_cast<int>(text.size()));
  if (::write(pipe.second.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw os::OsError::last("write", "the notes for the tool");
  }
  if (::fcntl(pipe.first.get(), F_SETFD, 0) < 0) throw os::OsError::last("fcntl", "the notes for the tool");
  return pipe.first.release();
}

CallerNotes take_notes(int fd) {
  if (!is_pipe(fd)) throw os::OsError(EBADF, "read", "fd " + std::to_string(fd) + " (notes of the starter)");
  const os::UniqueFd file(fd);
  auto packet = wire::decode_packet<Packet>(contents(fd));
  if (!packet) throw os::OsError(EBADMSG, "read", "the notes of the starter");
  return std::move(std::get<CallerNotes>(*packet));
}

}  // namespace wireup::runtime

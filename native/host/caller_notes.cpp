#include "host/caller_notes.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <type_traits>
#include <variant>

#include "os/error.h"
#include "os/fd.h"
#include "wire/packet.h"

namespace wireup::host {
namespace {

// Shown in /proc/PID/fd as /memfd:wireup-caller, by which they are known.
constexpr const char* kName = "wireup-caller";
constexpr std::string_view kTarget = "/memfd:wireup-caller";
// MFD_NOEXEC_SEAL, which older headers do not have.
constexpr unsigned kNoExec = 8;
// A starter and a tool of one build read each other.
constexpr std::size_t kMaxNotes = 1 << 20;

using Packet = std::variant<CallerNotes>;

std::string contents(int fd) {
  std::string text(kMaxNotes, '\0');
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  if (size < 0) throw os::OsError::last("read", "the notes of the starter");
  text.resize(static_cast<std::size_t>(size));
  return text;
}

bool is_notes(int fd) {
  std::string target(kTarget.size(), '\0');
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return ::readlink(path.c_str(), target.data(), target.size()) == static_cast<ssize_t>(target.size()) && target == kTarget;
}

}  // namespace
}  // namespace wireup::host

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

namespace wireup::host {

template <typename Codec, typename M>
  requires std::is_same_v<std::remove_const_t<M>, CallerNotes>
void fields(Codec& codec, M& m) {
  codec.field(m.caller);
  codec.field(m.hidden);
}

int leave_notes(const CallerNotes& notes) {
  // With vm.memfd_noexec=2 no other is allowed; before Linux 6.3 the flag is not known.
  os::UniqueFd fd(::memfd_create(kName, kNoExec));
  if (!fd && errno == EINVAL) fd.reset(::memfd_create(kName, 0));
  if (!fd) throw os::OsError::last("memfd_create");
  const std::string text = wire::encode_packet(Packet(notes));
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw os::OsError::last("write", "the notes for the tool");
  }
  return fd.release();
}

CallerNotes take_notes(int fd) {
  if (!is_notes(fd)) throw os::OsError(EBADF, "read", "fd " + std::to_string(fd) + " (notes of the starter)");
  const os::UniqueFd file(fd);
  auto packet = wire::decode_packet<Packet>(contents(fd));
  if (!packet) throw os::OsError(EBADMSG, "read", "the notes of the starter");
  return std::move(std::get<CallerNotes>(*packet));
}

}  // namespace wireup::host

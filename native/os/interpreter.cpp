// Finds the interpreter that a program names, for the error message if that interpreter does not exist.
#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <string_view>

#include "os/fd.h"
#include "os/start_process.h"

namespace wireup::os {
namespace {

// The kernel reads this much of a #! line (BINPRM_BUF_SIZE).
constexpr std::size_t kHeadSize = 256;
// Entries that are read of an ELF file's segment table. Linkers make fewer.
constexpr unsigned kMaxSegments = 64;

template <typename T>
bool read_at(int fd, std::uint64_t offset, T& out) {
  return ::pread(fd, &out, sizeof out, static_cast<off_t>(offset)) == static_cast<ssize_t>(sizeof out);
}

template <typename Header, typename Segment>
std::string elf_interpreter(int fd) {
  Header header;
  if (!read_at(fd, 0, header) || header.e_phentsize != sizeof(Segment)) return {};
  for (unsigned i = 0; i < std::min<unsigned>(header.e_phnum, kMaxSegments); ++i) {
    Segment segment;
    if (!read_at(fd, header.e_phoff + i * sizeof segment, segment)) return {};
    if (segment.p_type != PT_INTERP) continue;
    std::array<char, PATH_MAX> name{};
    const std::size_t size = std::min<std::size_t>(segment.p_filesz, name.size() - 1);
    if (::pread(fd, name.data(), size, static_cast<off_t>(segment.p_offset)) != static_cast<ssize_t>(size))
      return {};
    return name.data();
  }
  return {};
}

std::string script_interpreter(std::string_view head) {
  std::string_view line = head.substr(2, head.find('\n') - 2);
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return std::string(line.substr(0, line.find_first_of(" \t")));
}

}  // namespace

std::string missing_interpreter(const std::string& program, const std::string& directory) {
  const auto from_here = [&](const std::string& file) {
    return directory.empty() || file.starts_with('/') ? file : directory + "/" + file;
  };
  const UniqueFd file(::open(from_here(program).c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  std::array<char, kHeadSize> head{};
  const ssize_t size = file ? ::pread(file.get(), head.data(), head.size(), 0) : -1;
  if (size <= EI_CLASS) return {};
  const std::string_view text(head.data(), static_cast<std::size_t>(size));
  std::string name;
  if (text.starts_with("#!")) {
    name = script_interpreter(text);
  } else if (text.starts_with(ELFMAG)) {
    name = text[EI_CLASS] == ELFCLASS64 ? elf_interpreter<Elf64_Ehdr, Elf64_Phdr>(file.get())
                                        : elf_interpreter<Elf32_Ehdr, Elf32_Phdr>(file.get());
  }
  if (name.empty() || ::access(from_here(name).c_str(), F_OK) == 0) return {};
  const bool dos = name.ends_with('\r');
  if (dos) name.pop_back();
  return " (its interpreter " + name +
         (dos ? ", with a carriage return behind it: the lines end as in DOS)" : ")");
}

}  // namespace wireup::os

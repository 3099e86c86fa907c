// Lets binaries that were linked against a newer glibc run on glibc 2.28, the oldest on which Node 20's own
// binaries run.
//
// glibc gives a new version to a symbol that it moves between its libraries, and the linker takes the newest
// version. So a binary would need a new glibc for functions that old ones have too. This file defines these
// functions, hidden in each program and library, and passes the calls on to the oldest version of each, which
// newer glibcs still have.
//
// It is compiled into everything that binding.gyp builds. test/integration/pack.test.ts fails if a binary
// needs a symbol that came after glibc 2.28: then define it here too.

// Node's options set it; it makes stat a second name of stat64.
#undef _FILE_OFFSET_BITS
#include <features.h>

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35) && (defined(__x86_64__) || defined(__aarch64__))

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#define OLDEST_SETNAME "GLIBC_2.12"
#else
#define OLDEST "GLIBC_2.17"
#define OLDEST_SETNAME "GLIBC_2.17"
#endif

#define HIDDEN __attribute__((visibility("hidden")))
// Declares older_NAME, which is NAME as of `version`. It is null if the process has not loaded the library
// that has it.
#define OLDER(name, version)                                      \
  extern "C" __attribute__((weak)) decltype(::name) older_##name; \
  __asm__(".symver older_" #name "," #name "@" version)

// glibc 2.34 moved these from libpthread to libc. What starts threads links libpthread (binding.gyp). A
// program without threads does not load it on an older glibc, and then needs only what the comment at each
// function lists.
OLDER(dlerror, OLDEST);
OLDER(dlopen, OLDEST);
OLDER(dlsym, OLDEST);
OLDER(pthread_create, OLDEST);
OLDER(pthread_detach, OLDEST);
OLDER(pthread_join, OLDEST);
OLDER(pthread_key_create, OLDEST);
OLDER(pthread_once, OLDEST);
OLDER(pthread_setname_np, OLDEST_SETNAME);

extern "C" {

HIDDEN int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                          void* argument) noexcept {
  return older_pthread_create(thread, attributes, run, argument);
}

HIDDEN int pthread_detach(pthread_t thread) noexcept { return older_pthread_detach(thread); }

HIDDEN int pthread_join(pthread_t thread, void** result) { return older_pthread_join(thread, result); }

HIDDEN int pthread_setname_np(pthread_t thread, const char* name) noexcept {
  return older_pthread_setname_np(thread, name);
}

// libstdc++ asks for a key only where threads end.
HIDDEN int pthread_key_create(pthread_key_t* key, void (*destroy)(void*)) noexcept {
  return older_pthread_key_create == nullptr ? EAGAIN : older_pthread_key_create(key, destroy);
}

// The unwinder looks whether it exists, and takes the process for one with threads then.
HIDDEN int __pthread_key_create(pthread_key_t* key, void (*destroy)(void*)) noexcept {
  return pthread_key_create(key, destroy);
}

// libstdc++ makes its locale with it. Without libpthread there is one thread.
HIDDEN int pthread_once(pthread_once_t* control, void (*run)()) {
  if (older_pthread_once != nullptr) return older_pthread_once(control, run);
  if (*control == PTHREAD_ONCE_INIT) {
    *control = PTHREAD_ONCE_INIT + 1;
    run();
  }
  return 0;
}

// glibc 2.32 moved it. Both are the same system call.
HIDDEN int pthread_sigmask(int how, const sigset_t* mask, sigset_t* before) noexcept {
  return ::sigprocmask(how, mask, before) == 0 ? 0 : errno;
}

// Since glibc 2.33 the stat family are functions; they were inline calls of __xstat. On 64-bit processors a
// struct stat is the kernel's, and a struct stat64 is the same.
HIDDEN int fstatat64(int folder, const char* path, struct stat64* result, int flags) noexcept {
  return static_cast<int>(::syscall(SYS_newfstatat, folder, path, result, flags));
}

HIDDEN int stat64(const char* path, struct stat64* result) noexcept {
  return fstatat64(AT_FDCWD, path, result, 0);
}

HIDDEN int lstat64(const char* path, struct stat64* result) noexcept {
  return fstatat64(AT_FDCWD, path, result, AT_SYMLINK_NOFOLLOW);
}

HIDDEN int fstat64(int fd, struct stat64* result) noexcept {
  return static_cast<int>(::syscall(SYS_fstat, fd, result));
}

HIDDEN int stat(const char* path, struct stat* result) noexcept {
  return static_cast<int>(::syscall(SYS_newfstatat, AT_FDCWD, path, result, 0));
}

HIDDEN int lstat(const char* path, struct stat* result) noexcept {
  return static_cast<int>(::syscall(SYS_newfstatat, AT_FDCWD, path, result, AT_SYMLINK_NOFOLLOW));
}

// glibc 2.34 moved these from libdl to libc. What opens libraries links libdl (binding.gyp).
HIDDEN void* dlopen(const char* file, int mode) noexcept {
  return older_dlopen == nullptr ? nullptr : older_dlopen(file, mode);
}
HIDDEN void* dlsym(void* library, const char* name) noexcept {
  return older_dlsym == nullptr ? nullptr : older_dlsym(library, name);
}
HIDDEN char* dlerror() noexcept { return older_dlerror == nullptr ? nullptr : older_dlerror(); }

// libstdc++ counts references without atomic operations while this is set, since glibc 2.32. Never set is
// always right.
HIDDEN char __libc_single_threaded = 0;

}  // extern "C"

// The unwinder of gcc 12 and newer finds the object that has an address by a function of glibc 2.35; this is
// how older unwinders do it.
namespace {

struct Search {
  ElfW(Addr) address;
  dl_find_object* result;
};

int search_object(dl_phdr_info* object, std::size_t /*size*/, void* data) {
  const auto& search = *static_cast<Search*>(data);
  bool is_found = false;
  const ElfW(Phdr)* frames = nullptr;
  for (ElfW(Half) i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = object->dlpi_phdr[i];
    const ElfW(Addr) start = object->dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_GNU_EH_FRAME) frames = &header;
    if (header.p_type != PT_LOAD || search.address - start >= header.p_memsz) continue;
    is_found = true;
    search.result->dlfo_map_start = reinterpret_cast<void*>(start);
    search.result->dlfo_map_end = reinterpret_cast<void*>(start + header.p_memsz);
  }
  if (!is_found || frames == nullptr) return 0;
  search.result->dlfo_eh_frame = reinterpret_cast<void*>(object->dlpi_addr + frames->p_vaddr);
  return 1;
}

}  // namespace

extern "C" HIDDEN int _dl_find_object(void* address, dl_find_object* result) noexcept {
  *result = {};
  Search search{reinterpret_cast<ElfW(Addr)>(address), result};
  return ::dl_iterate_phdr(search_object, &search) == 1 ? 0 : -1;
}

// The start of a program. Since glibc 2.34 __libc_start_main runs the constructors of the program itself;
// older ones leave them to a function that they are given.
using Main = int (*)(int, char**, char**);
using Constructor = void (*)(int, char**, char**);

extern "C" {
extern HIDDEN void _init();
extern HIDDEN const Constructor __init_array_start[];
extern HIDDEN const Constructor __init_array_end[];

int older_libc_start_main(Main main, int argc, char** argv, Constructor init, void (*fini)(),
                          void (*loader_fini)(), void* stack_end);
__asm__(".symver older_libc_start_main,__libc_start_main@" OLDEST);

static void run_constructors(int argc, char** argv, char** environment) {
  _init();
  for (const Constructor* constructor = __init_array_start; constructor != __init_array_end; ++constructor)
    (*constructor)(argc, argv, environment);
}

HIDDEN int __libc_start_main(Main main, int argc, char** argv, Constructor /*init*/, void (*fini)(),
                             void (*loader_fini)(), void* stack_end) {
  return older_libc_start_main(main, argc, argv, run_constructors, fini, loader_fini, stack_end);
}
}

#endif

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#if defined(__SANITIZE_THREAD__)
// libzmq, and libsodium under it, are not compiled for TSan. It sees their use of memory, but not how the
// threads of libzmq wait for each other. libzmq also calls functions of std::string that the linker takes
// from here, and makes texts of addresses with streams, which nothing here shares between threads.
extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:libzmq.so\n"
         "called_from_lib:libsodium.so\n"
         "race:libzmq.so\n"
         "race:libsodium.so\n"
         "race:std::basic_streambuf<char, std::char_traits<char> >::xsputn\n";
}
#endif

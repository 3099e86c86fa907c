#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#if defined(__SANITIZE_THREAD__)
// libzmq is not compiled for TSan, which sees its use of memory but not how its threads wait for each other.
extern "C" const char* __tsan_default_suppressions() { return "called_from_lib:libzmq.so"; }
#endif

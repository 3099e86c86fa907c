// libpmi.so.0, loaded by dlopen() of argv[1], as in a program that is not linked with it.
#pragma once
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wireup/pmi.h>

#define FUNCTIONS(f)                                                                                        \
  f(PMI_Init) f(PMI_Initialized) f(PMI_Finalize) f(PMI_Abort) f(PMI_Get_size) f(PMI_Get_rank)               \
      f(PMI_Get_universe_size) f(PMI_Get_appnum) f(PMI_Get_clique_size) f(PMI_Get_clique_ranks)             \
          f(PMI_KVS_Get_name_length_max) f(PMI_KVS_Get_key_length_max) f(PMI_KVS_Get_value_length_max)      \
              f(PMI_Get_id_length_max) f(PMI_KVS_Get_my_name) f(PMI_Get_kvs_domain_id) f(PMI_Get_id)        \
                  f(PMI_KVS_Put) f(PMI_KVS_Commit) f(PMI_KVS_Get) f(PMI_Barrier) f(PMI_Publish_name)        \
                      f(PMI_Unpublish_name) f(PMI_Lookup_name) f(PMI_Spawn_multiple) f(PMI_KVS_Create)      \
                          f(PMI_KVS_Destroy) f(PMI_KVS_Iter_first) f(PMI_KVS_Iter_next) f(PMI_Parse_option) \
                              f(PMI_Args_to_keyval) f(PMI_Free_keyvals) f(PMI_Get_options)

#define DECLARE(name) __typeof__(&name) name;
static struct { FUNCTIONS(DECLARE) } lib;

#define LOAD(name)                                       \
  lib.name = (__typeof__(lib.name))dlsym(handle, #name); \
  if (lib.name == NULL) {                                \
    fprintf(stderr, "no %s: %s\n", #name, dlerror());    \
    exit(1);                                             \
  }

static void open_libpmi(const char* path) {
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  FUNCTIONS(LOAD)
}

// Checks the code that the call returns.
#define EXPECT(code, call)                                                                             \
  do {                                                                                                 \
    const int got_ = lib.call;                                                                         \
    if (got_ != (code)) {                                                                              \
      fprintf(stderr, "%s:%d: " #call ": expected " #code " (%d), got %d\n", __FILE__, __LINE__, code, \
              got_);                                                                                   \
      exit(1);                                                                                         \
    }                                                                                                  \
  } while (0)

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: " #condition "\n", __FILE__, __LINE__); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

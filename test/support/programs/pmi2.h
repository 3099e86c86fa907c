// The functions of PMI-2's API, loaded from a library by its path: Slurm's libpmi2.so or wireup's, which must
// work in the same way.
#pragma once

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { kLifetimeSeconds = 120, kMaxValue = 1024, kNullId = -1 };

static int (*Init)(int* spawned, int* size, int* rank, int* appnum);
static int (*Finalize)(void);
static int (*Initialized)(void);
static int (*Abort)(int flag, const char message[]);
// The constants for keys and values differ between headers, so none are defined here.
static int (*Job_Spawn)(int count, const char* commands[], int argcs[], const char** argvs[],
                        const int maxprocs[], const int info_sizes[], const void* info, int preput_size,
                        const void* preput, char job[], int job_size, int errors[]);
static int (*Job_GetId)(char job[], int size);
static int (*Job_GetRank)(int* rank);
static int (*Info_GetSize)(int* size);
static int (*Job_Connect)(const char job[], void* connection);
static int (*Job_Disconnect)(const char job[]);
static int (*KVS_Put)(const char key[], const char value[]);
static int (*KVS_Fence)(void);
static int (*KVS_Get)(const char* job, int source, const char key[], char value[], int size, int* length);
static int (*Info_GetNodeAttr)(const char name[], char value[], int size, int* found, int wait);
static int (*Info_GetNodeAttrIntArray)(const char name[], int array[], int size, int* length, int* found);
static int (*Info_PutNodeAttr)(const char name[], const char value[]);
static int (*Info_GetJobAttr)(const char name[], char value[], int size, int* found);
static int (*Info_GetJobAttrIntArray)(const char name[], int array[], int size, int* length, int* found);
static int (*Nameserv_publish)(const char service[], const void* info, const char port[]);
static int (*Nameserv_lookup)(const char service[], const void* info, char port[], int size);
static int (*Nameserv_unpublish)(const char service[], const void* info);

__attribute__((format(printf, 1, 2), noreturn)) static inline void die(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(90);
}

#define REQUIRE(condition)                                                                   \
  do {                                                                                       \
    if (!(condition)) die("rank %s: line %d: %s", getenv("PMI_RANK"), __LINE__, #condition); \
  } while (0)

static inline void load(const char* path) {
  void* library = dlopen(path, RTLD_NOW);
  if (library == NULL) die("%s", dlerror());
#define LOAD(name) \
  if ((*(void**)& name = dlsym(library, "PMI2_" #name)) == NULL) die("no PMI2_%s in %s", #name, path)
  LOAD(Init);
  LOAD(Finalize);
  LOAD(Initialized);
  LOAD(Abort);
  LOAD(Job_Spawn);
  LOAD(Job_GetId);
  LOAD(Job_GetRank);
  LOAD(Info_GetSize);
  LOAD(Job_Connect);
  LOAD(Job_Disconnect);
  LOAD(KVS_Put);
  LOAD(KVS_Fence);
  LOAD(KVS_Get);
  LOAD(Info_GetNodeAttr);
  LOAD(Info_GetNodeAttrIntArray);
  LOAD(Info_PutNodeAttr);
  LOAD(Info_GetJobAttr);
  LOAD(Info_GetJobAttrIntArray);
  LOAD(Nameserv_publish);
  LOAD(Nameserv_lookup);
  LOAD(Nameserv_unpublish);
#undef LOAD
}

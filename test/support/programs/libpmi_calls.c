// Calls every function of RFC 13 with valid and invalid arguments, and checks the return codes that the RFC
// specifies.
//
//   libpmi_calls LIBRARY calls      every function, as any rank of any job, or without a job
//   libpmi_calls LIBRARY init       PMI_Init alone, which must fail
//   libpmi_calls LIBRARY abort      init, then PMI_Abort(7, "farewell")
//   libpmi_calls LIBRARY early      PMI_Abort(7, "farewell") without init
//   libpmi_calls LIBRARY late       PMI_Abort(7, "farewell") after finalize
//   libpmi_calls LIBRARY lost       init, prints "ready", then gets keys until the server ends
//   libpmi_calls LIBRARY barrier    init, prints "ready", then enters a barrier in which the server ends
//   libpmi_calls LIBRARY timer      init, then a get under a timer of 1 ms; prints "ticked" after 200 signals
//   libpmi_calls LIBRARY clique     init, prints what the clique functions return, finalizes
//   libpmi_calls LIBRARY threads    eight threads put and get at the same time
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "libpmi.h"

static char name[256];

// Every function that may be called only between init and finalize returns PMI_ERR_INIT.
static void expect_not_initialized(void) {
  int number = 42;
  char text[1024] = "untouched";
  EXPECT(PMI_SUCCESS, PMI_Initialized(&number));
  REQUIRE(number == 0);
  number = 42;
  EXPECT(PMI_ERR_INIT, PMI_Get_size(&number));
  EXPECT(PMI_ERR_INIT, PMI_Get_rank(&number));
  EXPECT(PMI_ERR_INIT, PMI_Get_universe_size(&number));
  EXPECT(PMI_ERR_INIT, PMI_Get_appnum(&number));
  EXPECT(PMI_ERR_INIT, PMI_Get_clique_size(&number));
  EXPECT(PMI_ERR_INIT, PMI_Get_clique_ranks(&number, 1));
  EXPECT(PMI_ERR_INIT, PMI_KVS_Get_name_length_max(&number));
  EXPECT(PMI_ERR_INIT, PMI_KVS_Get_key_length_max(&number));
  EXPECT(PMI_ERR_INIT, PMI_KVS_Get_value_length_max(&number));
  EXPECT(PMI_ERR_INIT, PMI_Get_id_length_max(&number));
  EXPECT(PMI_ERR_INIT, PMI_KVS_Get_my_name(text, sizeof text));
  EXPECT(PMI_ERR_INIT, PMI_Get_kvs_domain_id(text, sizeof text));
  EXPECT(PMI_ERR_INIT, PMI_Get_id(text, sizeof text));
  EXPECT(PMI_ERR_INIT, PMI_KVS_Put("kvs", "key", "value"));
  EXPECT(PMI_ERR_INIT, PMI_KVS_Commit("kvs"));
  EXPECT(PMI_ERR_INIT, PMI_KVS_Get("kvs", "key", text, sizeof text));
  EXPECT(PMI_ERR_INIT, PMI_Barrier());
  EXPECT(PMI_ERR_INIT, PMI_Publish_name("service", "port"));
  EXPECT(PMI_ERR_INIT, PMI_Unpublish_name("service"));
  EXPECT(PMI_ERR_INIT, PMI_Lookup_name("service", text));
  EXPECT(PMI_ERR_INIT, PMI_Spawn_multiple(0, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL));
  EXPECT(PMI_ERR_INIT, PMI_Finalize());
  REQUIRE(number == 42 && strcmp(text, "untouched") == 0);
}

static void expect_optional(void) {
  int number = 1;
  char text[64] = "";
  char* args[] = {text};
  PMI_keyval_t* pairs = NULL;
  EXPECT(PMI_FAIL, PMI_KVS_Create(text, sizeof text));
  EXPECT(PMI_FAIL, PMI_KVS_Destroy("kvs"));
  EXPECT(PMI_FAIL, PMI_KVS_Iter_first("kvs", text, 64, text, 64));
  EXPECT(PMI_FAIL, PMI_KVS_Iter_next("kvs", text, 64, text, 64));
  EXPECT(PMI_FAIL, PMI_Parse_option(1, args, &number, &pairs, &number));
  EXPECT(PMI_FAIL, PMI_Args_to_keyval(&number, (char*((*)[])) & args, &pairs, &number));
  EXPECT(PMI_FAIL, PMI_Free_keyvals(NULL, 0));
  EXPECT(PMI_FAIL, PMI_Get_options(text, &number));
  // The function ignores its arguments, so NULL is allowed.
  EXPECT(PMI_FAIL, PMI_KVS_Create(NULL, 0));
  EXPECT(PMI_FAIL, PMI_KVS_Destroy(NULL));
  EXPECT(PMI_FAIL, PMI_KVS_Iter_first(NULL, NULL, 0, NULL, 0));
  EXPECT(PMI_FAIL, PMI_KVS_Iter_next(NULL, NULL, 0, NULL, 0));
  EXPECT(PMI_FAIL, PMI_Parse_option(0, NULL, NULL, NULL, NULL));
  EXPECT(PMI_FAIL, PMI_Args_to_keyval(NULL, NULL, NULL, NULL));
  EXPECT(PMI_FAIL, PMI_Get_options(NULL, NULL));
}

static void expect_numbers(void) {
  int number = -2, size = 0, rank = 0;
  EXPECT(PMI_SUCCESS, PMI_Get_size(&size));
  EXPECT(PMI_SUCCESS, PMI_Get_rank(&rank));
  REQUIRE(size >= 1 && rank >= 0 && rank < size);
  EXPECT(PMI_SUCCESS, PMI_Get_universe_size(&number));
  REQUIRE(number == size);
  EXPECT(PMI_SUCCESS, PMI_Get_appnum(&number));
  REQUIRE(number == 0);
  EXPECT(PMI_SUCCESS, PMI_KVS_Get_name_length_max(&number));
  REQUIRE(number == 256);
  EXPECT(PMI_SUCCESS, PMI_Get_id_length_max(&number));
  REQUIRE(number == 256);
  EXPECT(PMI_SUCCESS, PMI_KVS_Get_key_length_max(&number));
  REQUIRE(number == 64);
  EXPECT(PMI_SUCCESS, PMI_KVS_Get_value_length_max(&number));
  REQUIRE(number == 1024);
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Initialized(NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Get_size(NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Get_rank(NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Get_universe_size(NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Get_appnum(NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_KVS_Get_name_length_max(NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_KVS_Get_key_length_max(NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_KVS_Get_value_length_max(NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Get_id_length_max(NULL));

  int ranks[1024], clique = 0;
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Get_clique_size(NULL));
  EXPECT(PMI_SUCCESS, PMI_Get_clique_size(&clique));
  REQUIRE(clique == size);
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Get_clique_ranks(NULL, clique));
  EXPECT(PMI_ERR_INVALID_LENGTH, PMI_Get_clique_ranks(ranks, clique - 1));
  EXPECT(PMI_ERR_INVALID_LENGTH, PMI_Get_clique_ranks(ranks, 0));
  EXPECT(PMI_ERR_INVALID_LENGTH, PMI_Get_clique_ranks(ranks, -1));
  EXPECT(PMI_SUCCESS, PMI_Get_clique_ranks(ranks, 1024));
  // Every rank of the job is on this node.
  for (int i = 0; i < clique; ++i) REQUIRE(ranks[i] == i);
}

static void expect_names(void) {
  char text[256] = "untouched";
  EXPECT(PMI_SUCCESS, PMI_KVS_Get_my_name(name, sizeof name));
  EXPECT(PMI_SUCCESS, PMI_Get_kvs_domain_id(text, sizeof text));
  REQUIRE(strcmp(text, name) == 0);
  strcpy(text, "untouched");
  EXPECT(PMI_SUCCESS, PMI_Get_id(text, (int)strlen(name) + 1));
  REQUIRE(strcmp(text, name) == 0);
  strcpy(text, "untouched");
  EXPECT(PMI_ERR_INVALID_ARG, PMI_KVS_Get_my_name(NULL, 256));
  EXPECT(PMI_ERR_INVALID_LENGTH, PMI_KVS_Get_my_name(text, (int)strlen(name)));
  EXPECT(PMI_ERR_INVALID_LENGTH, PMI_KVS_Get_my_name(text, 0));
  EXPECT(PMI_ERR_INVALID_LENGTH, PMI_Get_id(text, -1));
  EXPECT(PMI_ERR_INVALID_LENGTH, PMI_Get_kvs_domain_id(text, 1));
  REQUIRE(strcmp(text, "untouched") == 0);
}

static void expect_kvs(void) {
  int rank = 0;
  char key[64], value[1024], text[1024] = "untouched", long_key[65], long_value[1025];
  EXPECT(PMI_SUCCESS, PMI_Get_rank(&rank));
  snprintf(key, sizeof key, "key-%d", rank);
  memset(long_key, 'k', 64);
  long_key[64] = '\0';
  memset(long_value, 'v', 1024);
  long_value[1024] = '\0';

  EXPECT(PMI_ERR_INVALID_ARG, PMI_KVS_Put(NULL, key, "v"));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_KVS_Put("no-kvs-of-ours", key, "v"));
  EXPECT(PMI_ERR_INVALID_KEY, PMI_KVS_Put(name, NULL, "v"));
  EXPECT(PMI_ERR_INVALID_KEY, PMI_KVS_Put(name, "", "v"));
  EXPECT(PMI_ERR_INVALID_KEY, PMI_KVS_Put(name, "a key", "v"));
  EXPECT(PMI_ERR_INVALID_KEY, PMI_KVS_Put(name, "a=key", "v"));
  EXPECT(PMI_ERR_INVALID_KEY, PMI_KVS_Put(name, "a\nkey", "v"));
  EXPECT(PMI_ERR_INVALID_KEY, PMI_KVS_Put(name, "PMI_reserved", "v"));
  EXPECT(PMI_ERR_INVALID_KEY_LENGTH, PMI_KVS_Put(name, long_key, "v"));
  EXPECT(PMI_ERR_INVALID_VAL, PMI_KVS_Put(name, key, NULL));
  EXPECT(PMI_ERR_INVALID_VAL, PMI_KVS_Put(name, key, "two\nlines"));
  EXPECT(PMI_ERR_INVALID_VAL_LENGTH, PMI_KVS_Put(name, key, long_value));
  EXPECT(PMI_FAIL, PMI_KVS_Get(name, key, value, sizeof value));
  EXPECT(PMI_SUCCESS, PMI_KVS_Put(name, key, "a value = of words "));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_KVS_Commit(NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_KVS_Commit("no-kvs-of-ours"));
  EXPECT(PMI_SUCCESS, PMI_KVS_Commit(name));
  EXPECT(PMI_SUCCESS, PMI_Barrier());

  EXPECT(PMI_SUCCESS, PMI_KVS_Get(name, key, value, sizeof value));
  REQUIRE(strcmp(value, "a value = of words ") == 0);
  EXPECT(PMI_ERR_INVALID_ARG, PMI_KVS_Get(NULL, key, text, sizeof text));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_KVS_Get("no-kvs-of-ours", key, text, sizeof text));
  EXPECT(PMI_ERR_INVALID_KEY, PMI_KVS_Get(name, NULL, text, sizeof text));
  EXPECT(PMI_ERR_INVALID_KEY, PMI_KVS_Get(name, "", text, sizeof text));
  EXPECT(PMI_ERR_INVALID_KEY_LENGTH, PMI_KVS_Get(name, long_key, text, sizeof text));
  EXPECT(PMI_ERR_INVALID_VAL, PMI_KVS_Get(name, key, NULL, 1024));
  EXPECT(PMI_ERR_INVALID_LENGTH, PMI_KVS_Get(name, key, text, 0));
  EXPECT(PMI_ERR_INVALID_LENGTH, PMI_KVS_Get(name, key, text, -5));
  EXPECT(PMI_ERR_INVALID_LENGTH, PMI_KVS_Get(name, key, text, (int)strlen(value)));
  EXPECT(PMI_FAIL, PMI_KVS_Get(name, "no-such-key", text, sizeof text));
  REQUIRE(strcmp(text, "untouched") == 0);
  // A reserved key, which has an empty value if it does not exist.
  EXPECT(PMI_SUCCESS, PMI_KVS_Get(name, "PMI_no_such_key", text, sizeof text));
  REQUIRE(text[0] == '\0');
  EXPECT(PMI_SUCCESS, PMI_KVS_Get(name, key, text, (int)strlen(value) + 1));

  EXPECT(PMI_ERR_INVALID_ARG, PMI_Publish_name(NULL, "port"));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Publish_name("service", NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Publish_name("a service", "port"));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Unpublish_name(NULL));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Unpublish_name(""));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Lookup_name(NULL, text));
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Lookup_name("service", NULL));
  EXPECT(PMI_FAIL, PMI_Lookup_name("nobody-published-this", text));

  snprintf(key, sizeof key, "service-%d", rank);
  EXPECT(PMI_SUCCESS, PMI_Publish_name(key, "tcp://a port = of words"));
  EXPECT(PMI_FAIL, PMI_Publish_name(key, "taken"));
  EXPECT(PMI_SUCCESS, PMI_Lookup_name(key, text));
  REQUIRE(strcmp(text, "tcp://a port = of words") == 0);
  EXPECT(PMI_SUCCESS, PMI_Unpublish_name(key));
  EXPECT(PMI_FAIL, PMI_Lookup_name(key, text));
  EXPECT(PMI_FAIL, PMI_Unpublish_name(key));
}

static void calls(void) {
  int number = -1;
  expect_not_initialized();
  expect_optional();
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Init(NULL));
  EXPECT(PMI_SUCCESS, PMI_Init(&number));
  REQUIRE(number == 0);
  EXPECT(PMI_SUCCESS, PMI_Initialized(&number));
  REQUIRE(number == 1);
  EXPECT(PMI_FAIL, PMI_Init(&number));
  expect_numbers();
  expect_names();
  expect_kvs();
  expect_optional();
  EXPECT(PMI_SUCCESS, PMI_Barrier());
  EXPECT(PMI_SUCCESS, PMI_Finalize());
  expect_not_initialized();
}

static void* put_and_get(void* number) {
  char key[64], value[128], got[1024];
  for (int i = 0; i < 200; ++i) {
    snprintf(key, sizeof key, "thread-%d-%d", *(int*)number, i);
    snprintf(value, sizeof value, "value of %s", key);
    EXPECT(PMI_SUCCESS, PMI_KVS_Put(name, key, value));
    EXPECT(PMI_SUCCESS, PMI_KVS_Get(name, key, got, sizeof got));
    REQUIRE(strcmp(got, value) == 0);
  }
  return NULL;
}

static void threads(void) {
  pthread_t ids[8];
  int numbers[8];
  for (int i = 0; i < 8; ++i) {
    numbers[i] = i;
    REQUIRE(pthread_create(&ids[i], NULL, put_and_get, &numbers[i]) == 0);
  }
  for (int i = 0; i < 8; ++i) pthread_join(ids[i], NULL);
  EXPECT(PMI_SUCCESS, PMI_Finalize());
}

static void on_tick(int number) {
  static volatile sig_atomic_t ticks = 0;
  (void)number;
  // Many more ticks than the library's timeout has seconds.
  if (++ticks == 200) REQUIRE(write(STDOUT_FILENO, "ticked\n", 7) == 7);
}

// As a profiler does: the signal interrupts system calls, without SA_RESTART.
static void timer(void) {
  const struct sigaction action = {.sa_handler = on_tick};
  const struct itimerval millisecond = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
  char value[1024];
  REQUIRE(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &millisecond, NULL) == 0);
  EXPECT(PMI_SUCCESS, PMI_KVS_Get(name, "slow", value, sizeof value));
  REQUIRE(setitimer(ITIMER_REAL, &never, NULL) == 0);
  EXPECT(PMI_SUCCESS, PMI_Finalize());
}

static void clique(void) {
  int ranks[1024], size = 0;
  const int rc = lib.PMI_Get_clique_size(&size);
  printf("size %d %d ranks %d", rc, size, lib.PMI_Get_clique_ranks(ranks, 1024));
  for (int i = 0; i < size; ++i) printf(" %d", ranks[i]);
  puts("");
  EXPECT(PMI_SUCCESS, PMI_Finalize());
}

int main(int argc, char** argv) {
  REQUIRE(argc == 3);
  open_libpmi(argv[1]);
  const char* what = argv[2];
  int spawned = 0;
  if (strcmp(what, "calls") == 0) {
    calls();
  } else if (strcmp(what, "init") == 0) {
    EXPECT(PMI_FAIL, PMI_Init(&spawned));
    expect_not_initialized();
  } else if (strcmp(what, "early") == 0) {
    lib.PMI_Abort(7, "farewell");
  } else {
    EXPECT(PMI_SUCCESS, PMI_Init(&spawned));
    EXPECT(PMI_SUCCESS, PMI_KVS_Get_my_name(name, sizeof name));
    if (strcmp(what, "late") == 0) EXPECT(PMI_SUCCESS, PMI_Finalize());
    if (strcmp(what, "abort") == 0 || strcmp(what, "late") == 0) lib.PMI_Abort(7, "farewell");
    if (strcmp(what, "threads") == 0) threads();
    if (strcmp(what, "timer") == 0) timer();
    if (strcmp(what, "clique") == 0) clique();
    if (strcmp(what, "lost") == 0 || strcmp(what, "barrier") == 0) {
      char value[1024];
      puts("ready");
      fflush(stdout);
      if (strcmp(what, "barrier") == 0) EXPECT(PMI_FAIL, PMI_Barrier());
      while (lib.PMI_KVS_Get(name, "PMI_process_mapping", value, sizeof value) == PMI_SUCCESS) {
      }
      EXPECT(PMI_FAIL, PMI_KVS_Put(name, "key", "value"));
      EXPECT(PMI_FAIL, PMI_Finalize());
      expect_not_initialized();
    }
  }
  puts("ok");
  return 0;
}

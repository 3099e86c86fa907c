// pmi2_calls LIBRARY calls|abort|spawn: calls every function of PMI-2 with valid and invalid arguments.
//
// pmi2_calls LIBRARY exchange: calls what every PMI-2 server supports, and prints the number of ranks on the
// node.
#include "pmi2.h"

static int rank;
static int size;

static void put_and_get(const char* job) {
  char key[64];
  char value[kMaxValue];
  char expected[64];
  int length = 0;
  snprintf(key, sizeof key, "card-%d", rank);
  snprintf(value, sizeof value, "of rank %d, a=b", rank);
  REQUIRE(KVS_Put(key, value) == 0);
  REQUIRE(KVS_Fence() == 0);
  for (int other = 0; other < size; ++other) {
    snprintf(key, sizeof key, "card-%d", other);
    snprintf(expected, sizeof expected, "of rank %d, a=b", other);
    REQUIRE(KVS_Get(job, other, key, value, sizeof value, &length) == 0);
    REQUIRE(strcmp(value, expected) == 0 && length == (int)strlen(expected));
  }
  REQUIRE(KVS_Get(job, kNullId, "no such key", value, sizeof value, &length) != 0);
  REQUIRE(KVS_Get("another job", kNullId, "card-0", value, sizeof value, &length) != 0);
  REQUIRE(KVS_Put("PMI_x", "reserved") != 0);
  // A failed call does not affect the next one.
  REQUIRE(KVS_Fence() == 0);
}

static int is_last_on_node(void) {
  const char* number = getenv("MPI_LOCALRANKID");
  const char* count = getenv("MPI_LOCALNRANKS");
  return number == NULL || count == NULL ? rank == size - 1 : atoi(number) == atoi(count) - 1;
}

static void attributes(void) {
  char value[kMaxValue];
  int numbers[4];
  int length = 0;
  int found = 1;
  REQUIRE(Info_GetJobAttr("PMI_process_mapping", value, sizeof value, &found) == 0);
  REQUIRE(found && strncmp(value, "(vector,(", 9) == 0);
  REQUIRE(Info_GetJobAttr("no such attribute", value, sizeof value, &found) == 0 && !found);
  REQUIRE(Info_GetJobAttrIntArray("universeSize", numbers, 4, &length, &found) == 0);
  REQUIRE(found && length == 1 && numbers[0] == size);
  REQUIRE(Info_GetNodeAttr("nobody has put it", value, sizeof value, &found, 0) == 0 && !found);
  // All ranks of a node but the last wait for an attribute that the last one sets.
  if (is_last_on_node()) {
    usleep(100 * 1000);
    REQUIRE(Info_PutNodeAttr("numbers", "1,2,3") == 0);
  }
  REQUIRE(Info_GetNodeAttr("numbers", value, sizeof value, &found, 1) == 0);
  REQUIRE(found && strcmp(value, "1,2,3") == 0);
  REQUIRE(Info_GetNodeAttrIntArray("numbers", numbers, 4, &length, &found) == 0);
  REQUIRE(found && length == 3 && numbers[0] == 1 && numbers[2] == 3);
  REQUIRE(KVS_Fence() == 0);
}

static void exchange(const char* job) {
  char key[64];
  char value[kMaxValue];
  char expected[64];
  int length = 0;
  int found = 0;
  int neighbours = 0;
  snprintf(key, sizeof key, "card-%d", rank);
  snprintf(value, sizeof value, "of-%d", rank);
  REQUIRE(KVS_Put(key, value) == 0 && KVS_Fence() == 0);
  for (int other = 0; other < size; ++other) {
    snprintf(key, sizeof key, "card-%d", other);
    snprintf(expected, sizeof expected, "of-%d", other);
    REQUIRE(KVS_Get(job, other, key, value, sizeof value, &length) == 0 && strcmp(value, expected) == 0);
  }
  REQUIRE(KVS_Get(job, kNullId, "no-such-key", value, sizeof value, &length) != 0);
  REQUIRE(Info_GetJobAttr("PMI_process_mapping", value, sizeof value, &found) == 0 && found);
  REQUIRE(Info_GetSize(&neighbours) == 0);
  printf("rank %d of %d, %d on its node\n", rank, size, neighbours);
}

static void names(void) {
  char port[kMaxValue];
  if (rank == 0) {
    REQUIRE(Nameserv_lookup("ocean", NULL, port, sizeof port) != 0);
    REQUIRE(Nameserv_publish("ocean", NULL, "tag#0$port#1$") == 0);
    REQUIRE(Nameserv_publish("ocean", NULL, "another") != 0);
  }
  REQUIRE(KVS_Fence() == 0);
  REQUIRE(Nameserv_lookup("ocean", NULL, port, sizeof port) == 0);
  REQUIRE(strcmp(port, "tag#0$port#1$") == 0);
  REQUIRE(KVS_Fence() == 0);
  if (rank == size - 1) REQUIRE(Nameserv_unpublish("ocean", NULL) == 0);
  REQUIRE(KVS_Fence() == 0);
  REQUIRE(Nameserv_lookup("ocean", NULL, port, sizeof port) != 0);
  REQUIRE(Nameserv_unpublish("ocean", NULL) != 0);
}

static int spawn(char job[], int job_size, int errors[]) {
  const char* commands[] = {"one", "two"};
  const char* args[] = {"a", "b c"};
  const char** argvs[] = {args, NULL};
  int argcs[] = {2, 0};
  const int maxprocs[] = {2, 1};
  const int info_sizes[] = {0, 0};
  const void* info[] = {NULL, NULL};
  return Job_Spawn(2, commands, argcs, argvs, maxprocs, info_sizes, info, 0, NULL, job, job_size, errors);
}

int main(int argc, char** argv) {
  if (argc != 3) die("usage: pmi2_calls LIBRARY calls|abort|spawn");
  alarm(kLifetimeSeconds);
  load(argv[1]);
  int spawned = 1;
  int appnum = -1;
  int number = -1;
  char job[256];
  int errors[3] = {-1, -1, -1};
  REQUIRE(!Initialized());
  REQUIRE(Init(&spawned, &size, &rank, &appnum) == 0);
  // Slurm's server returns -1.
  REQUIRE(Initialized() && !spawned && (appnum == 0 || strcmp(argv[2], "exchange") == 0) && rank < size);
  if (getenv("PMI_SIZE") != NULL)
    REQUIRE(size == atoi(getenv("PMI_SIZE")) && rank == atoi(getenv("PMI_RANK")));
  // If PMI_ID is set, Slurm's library does not store its rank.
  REQUIRE(Job_GetRank(&number) == 0 && (number == rank || getenv("PMI_ID") != NULL));
  REQUIRE(Info_GetSize(&number) == 0);
  REQUIRE(Job_GetId(job, sizeof job) == 0 && job[0] != '\0');
  if (strcmp(argv[2], "exchange") == 0) {
    exchange(job);
    REQUIRE(Finalize() == 0);
    return 0;
  }
  if (strcmp(argv[2], "abort") == 0) {
    if (rank == 1) Abort(1, "farewell");
    KVS_Fence();
    die("it has come back from a fence that cannot end");
  }
  if (strcmp(argv[2], "spawn") == 0) {
    REQUIRE(spawn(job, sizeof job, errors) == 0);
    REQUIRE(errors[0] == 0 && errors[2] == 0);
    printf("%s\n", job);
    REQUIRE(Finalize() == 0);
    return 0;
  }
  put_and_get(job);
  attributes();
  names();
  REQUIRE(Job_Connect("another job", errors) != 0);
  REQUIRE(Job_Disconnect("another job") != 0);
  char unused[256];
  REQUIRE(spawn(unused, sizeof unused, errors) != 0);
  REQUIRE(KVS_Fence() == 0);
  REQUIRE(Finalize() == 0);
  printf("ok\n");
  return 0;
}

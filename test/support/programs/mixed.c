// mixed LIBRARY-OF-PMI-2: a job whose ranks use PMI-1.1, PMI-1.2 and PMI-2 in turn, with one key-value space
// and one barrier for all. Both headers define these two.
#define die die_of_pmi2
#define kLifetimeSeconds kLifetimeSecondsOfPmi2
#include "pmi2.h"
#undef die
#undef kLifetimeSeconds
#include "raw_pmi.h"

static struct raw_pmi raw;
static int protocol;  // 0: 1.1, 1: 1.2, 2: 2.0
static char job[256];

static void start(const char* library) {
  alarm(kLifetimeSeconds);
  protocol = number(variable("PMI_RANK")) % 3;
  if (protocol == 2) {
    int spawned = 0;
    int appnum = 0;
    load(library);
    REQUIRE(Init(&spawned, &raw.size, &raw.rank, &appnum) == 0);
    REQUIRE(Job_GetId(job, sizeof job) == 0);
    return;
  }
  char line[kMaxLine];
  raw.fd = number(variable("PMI_FD"));
  raw.rank = number(variable("PMI_RANK"));
  raw.size = number(variable("PMI_SIZE"));
  send_line(&raw, "cmd=init pmi_version=1 pmi_subversion=%d", protocol + 1);
  receive_line(&raw,
               protocol == 0 ? "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0"
                             : "cmd=response_to_init pmi_version=1 pmi_subversion=2 rc=0",
               line);
  send_line(&raw, "cmd=get_my_kvsname");
  receive_line(&raw, "cmd=my_kvsname ", line);
  attribute(line, "kvsname", raw.kvsname);
}

static void put(const char* key, const char* value) {
  char line[kMaxLine];
  if (protocol == 2) {
    REQUIRE(KVS_Put(key, value) == 0);
    return;
  }
  send_line(&raw, "cmd=put kvsname=%s key=%s value=%s", raw.kvsname, key, value);
  receive_line(&raw, "cmd=put_result rc=0", line);
}

static void get(const char* key, char value[kMaxLine]) {
  char line[kMaxLine];
  int length = 0;
  if (protocol == 2) {
    REQUIRE(KVS_Get(job, kNullId, key, value, kMaxValue, &length) == 0);
    return;
  }
  send_line(&raw, "cmd=get kvsname=%s key=%s", raw.kvsname, key);
  receive_line(&raw, "cmd=get_result rc=0", line);
  attribute(line, "value", value);
}

static void barrier(void) {
  char line[kMaxLine];
  if (protocol == 2) {
    REQUIRE(KVS_Fence() == 0);
  } else if (protocol == 1) {
    send_line(&raw, "cmd=barrier_in group=WORLD");
    receive_line(&raw, "cmd=barrier_out rc=0 tag=0", line);
  } else {
    raw_barrier(&raw);
  }
}

int main(int argc, char** argv) {
  if (argc != 2) die("usage: mixed LIBRARY");
  start(argv[1]);
  char key[64];
  char value[kMaxLine];
  char expected[64];
  for (int round = 0; round < 10; ++round) {
    snprintf(key, sizeof key, "card-%d-%d", round, raw.rank);
    snprintf(value, sizeof value, "round %d of %d", round, raw.rank);
    put(key, value);
    barrier();
    for (int other = 0; other < raw.size; ++other) {
      snprintf(key, sizeof key, "card-%d-%d", round, other);
      snprintf(expected, sizeof expected, "round %d of %d", round, other);
      get(key, value);
      if (strcmp(value, expected) != 0) die("%s is '%s'", key, value);
    }
  }
  // The ranks of PMI-1.2 have a barrier of their own while the others wait in the barrier of all ranks.
  if (protocol == 1) {
    char line[kMaxLine];
    char group[kMaxLine] = "";
    for (int other = 1; other < raw.size; other += 3) {
      snprintf(group + strlen(group), sizeof group - strlen(group), "%s%d", other == 1 ? "" : ",", other);
    }
    send_line(&raw, "cmd=barrier_in group=%s:7", group);
    receive_line(&raw, "cmd=barrier_out rc=0 tag=7", line);
  }
  barrier();
  if (protocol == 2) {
    REQUIRE(Finalize() == 0);
  } else {
    raw_finalize(&raw);
  }
  printf("ok\n");
  return 0;
}

// A PMI-1 client that keeps the rules, except for the fault that its argument names.
#include "raw_pmi.h"

enum { kMaxReplies = 4096 };

static const char* fault = "";
static int server = -1;
// What has been received and not been taken.
static char received[kMaxReplies + 1];
static size_t length = 0;

static int has(const char* name) { return strcmp(fault, name) == 0; }

static void write_line(const char* text) {
  const struct raw_pmi pmi = {.fd = server};
  send_line(&pmi, "%s", text);
}

// Takes the next line.
static void take_line(char line[kMaxReplies + 1]) {
  char* end = NULL;
  while ((end = memchr(received, '\n', length)) == NULL) {
    const ssize_t size = read(server, received + length, kMaxReplies - length);
    if (size <= 0) exit(1);
    length += (size_t)size;
    // One read is one reply.
    if (has("read") && received[length - 1] != '\n') exit(1);
  }
  const size_t size = (size_t)(end - received);
  memcpy(line, received, size);
  line[size] = '\0';
  length -= size + 1;
  memmove(received, end + 1, length);
}

// Whether the line has the attribute. Copies its value, up to a blank, or of `value` up to the end.
static int find(const char* line, const char* name, char value[kMaxReplies + 1]) {
  char wanted[80];
  snprintf(wanted, sizeof wanted, " %s=", name);
  if (strstr(line, wanted) == NULL) return 0;
  attribute(line, name, value);
  return 1;
}

static void ask(const char* request, char line[kMaxReplies + 1]) {
  char value[kMaxReplies + 1];
  write_line(request);
  take_line(line);
  const int is_put = strncmp(line, "cmd=put_result", strlen("cmd=put_result")) == 0;
  const int is_get = strncmp(line, "cmd=get_result", strlen("cmd=get_result")) == 0;
  if (has("rc") && is_put && !find(line, "rc", value)) exit(1);
  if (has("msg") && !is_put && !is_get && find(line, "msg", value)) exit(1);
  if (has("order") && strncmp(line, "cmd=maxes vallen_max", strlen("cmd=maxes vallen_max")) == 0) exit(1);
  if (has("extra") && find(line, "x_check", value)) exit(1);
}

static void put(const char* kvsname, const char* key, const char* value) {
  char request[kMaxReplies];
  char line[kMaxReplies + 1];
  char rc[kMaxReplies + 1];
  snprintf(request, sizeof request, "cmd=put kvsname=%s key=%s value=%s", kvsname, key, value);
  ask(request, line);
  if (find(line, "rc", rc) && number(rc) != 0 && !has("error")) exit(1);
}

// A text of that many characters.
static const char* repeated(char character, const char* count) {
  static char text[kMaxLine];
  memset(text, character, (size_t)number(count));
  text[number(count)] = '\0';
  return text;
}

int main(int argc, char** argv) {
  char line[kMaxReplies + 1];
  char value[kMaxReplies + 1];
  char limits[kMaxReplies + 1];
  if (argc > 1) fault = argv[1];
  alarm(kLifetimeSeconds);
  if (getenv("PMI_FD") != NULL) {
    server = number(variable("PMI_FD"));
  } else {
    server = connect_to(variable("PMI_PORT"));
    snprintf(value, sizeof value, "cmd=initack pmiid=%s", has("pmiid") ? "other" : variable("PMI_ID"));
    write_line(value);
    for (int i = 0; i < 4; ++i) take_line(line);
  }
  if (has("first")) ask("cmd=get_maxes", line);
  ask("cmd=init pmi_version=1 pmi_subversion=1", line);
  ask("cmd=get_maxes", limits);
  ask("cmd=get_my_kvsname", line);
  attribute(line, "kvsname", value);
  char kvsname[kMaxLine];
  snprintf(kvsname, sizeof kvsname, "%.255s", has("kvsname") ? "other" : value);
  put(kvsname, has("prefix") ? "PMI_card" : "card", "ace");
  if (has("twice")) put(kvsname, "card", "king");
  attribute(limits, "keylen_max", value);
  if (has("key")) put(kvsname, repeated('k', value), "x");
  attribute(limits, "vallen_max", value);
  if (has("value")) put(kvsname, "long", repeated('v', value));
  if (has("characters")) put(kvsname, "blank", "two words");
  if (has("malformed")) write_line("get_appnum");
  if (has("command")) ask("cmd=unknown_command", line);
  if (has("pipeline")) {
    write_line("cmd=get_appnum\ncmd=get_universe_size");
    take_line(line);
    take_line(line);
  }
  ask("cmd=barrier_in", line);
  snprintf(value, sizeof value, "cmd=get kvsname=%s key=PMI_process_mapping", kvsname);
  ask(value, line);
  const int is_empty = !find(line, "value", value) || value[0] == '\0' || value[0] == ' ';
  if (has("mapping") && is_empty) exit(1);
  if (!has("unfinished")) ask("cmd=finalize", line);
  if (has("late")) write_line("cmd=get_appnum");
  return has("run") ? 1 : 0;
}

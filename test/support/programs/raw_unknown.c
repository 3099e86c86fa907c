// raw_unknown: every rank says a command that no PMI knows, hears an answer that says so, and goes on to
// finalize.
#include "raw_pmi.h"

int main(void) {
  const struct raw_pmi pmi = raw_start();
  char line[kMaxLine];
  say(&pmi, "cmd=fly_to_the_moon");
  hear(&pmi, "cmd=fly_to_the_moon_result rc=-1 ", line);
  raw_finalize(&pmi);
}

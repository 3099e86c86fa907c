// raw_unknown: every rank sends an unknown command, receives an error reply, and finalizes.
#include "raw_pmi.h"

int main(void) {
  const struct raw_pmi pmi = raw_start();
  char line[kMaxLine];
  send_line(&pmi, "cmd=fly_to_the_moon");
  receive_line(&pmi, "cmd=fly_to_the_moon_result rc=-1 ", line);
  raw_finalize(&pmi);
}

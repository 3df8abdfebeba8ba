#include "edgekit_kernels.h"

int ek_version(void) { return EK_VERSION; }
int not_of_the_abi() { return 1; }

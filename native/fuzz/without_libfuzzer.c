/* As many inputs as the first argument says, of a fixed seed: half noise, half sparse as residuals are. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 6002 };
extern uint32_t coded_sum;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int count, char **arguments) {
    uint64_t state = 88172645463325252u;
    long inputs = count > 1 ? atol(arguments[1]) : 100;
    for (long n = 0; n < inputs; n++) {
        static uint8_t data[MOST];
        size_t size = 0, most = 2 + (size_t)(n * 262 % (MOST - 2));
        while (size < most) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            data[size++] = n & 1 || size < 3 || !(state >> 60) ? (uint8_t)(state >> 32) : 0;
        }
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("%ld inputs, coded bytes %08x\n", inputs, (unsigned)coded_sum);
    return 0;
}

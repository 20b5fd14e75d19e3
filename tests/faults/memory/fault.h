/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMB_TESTS_FAULT_H
#define VMB_TESTS_FAULT_H

void fault_pause(void); /* this thread's allocations neither fail nor count, until… */
void fault_resume(void);
void fault_arm(long n, int and_all_later); /* the n-th from now on fails; 0: none, they are counted */
long fault_disarm(void);                   /* how many there were */
long fault_alive(void);                    /* allocations that were not freed */

#endif

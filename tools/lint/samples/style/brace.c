/* SPDX-License-Identifier: Apache-2.0 */
int brace(void) {
    return 1;
}

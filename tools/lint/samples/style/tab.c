/* SPDX-License-Identifier: Apache-2.0 */
int tab(void)
{
	return 1;
}

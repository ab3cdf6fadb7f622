/* no licence */
/* TODO make this better */
/* TODO(#12): bound the queue */
/* FIXME(#3) */
static const char *where = "/home/somebody/muster";
static const char *fine = "/var/lib/muster";
#if 0
int gone;
#endif
int n = atoi("1"); 

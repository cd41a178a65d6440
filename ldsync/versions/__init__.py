"""The newest known version of every member: what keeps an older change from undoing a newer one."""

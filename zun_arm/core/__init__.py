"""The rules of zun-arm, standard library only: what a sandbox is and how it comes, stays and goes."""

"""The live view: a page in the browser that shows a running server, or a saved trace, by the descriptions of its devices.

It is one more client of the control socket (``sources``) and a small web server for one user on this machine (``http``); the
page itself is in ``static``, plain files without a build step. Nothing in here runs in the server's process.
"""

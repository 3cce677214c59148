"""SSH to the instances: one kept connection each, one channel per command, nothing secret before the machine is identified.

``remote`` says what running a command means; ``executor`` keeps the connections; ``address``, ``transport``, ``hostkeys``
open one; ``shared``, ``wire`` and ``reader`` read all of them on one thread; ``channel`` holds one
command; ``watchdog`` cuts what hangs; ``keys`` reads our own private key.
"""

from dispatcher.edge.ssh import library as library  # first: it loads paramiko
from dispatcher.edge.ssh.executor import SSHExecutor as SSHExecutor
from dispatcher.edge.ssh.executor import SSHSettings as SSHSettings
from dispatcher.edge.ssh.hostkeys import HostKeys as HostKeys
from dispatcher.edge.ssh.remote import Executor as Executor
from dispatcher.edge.ssh.remote import Output as Output
from dispatcher.edge.ssh.remote import RemoteError as RemoteError

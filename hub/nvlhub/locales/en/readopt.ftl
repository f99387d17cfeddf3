# Kernels that outlive their notebook server.
kernel-not-back = The notebook server ended unexpectedly, and this GPU kernel could not be taken back: it was not heard from where it ran, or its way back to this server is taken. Its lease was given back and its variables are lost. Start a new kernel.
kernel-not-its-lease = What was written down about this GPU kernel does not fit the lease it names, so the kernel was not taken back; the lease was left alone. Start a new kernel, or see My compute for what runs.
readopt-alone = Its notebook server has not answered for { $age }. The kernel goes on, with its variables and its GPUs, and can be taken back.
readopt-until = It ends by itself in
readopt-back = Go back in
readopt-back-of = Go back in: { $name }
readopt-hint = Going back in starts your server again; the notebook that the kernel belongs to finds it.
readopt-waits = { $count ->
    [one] A GPU kernel waits for your server and goes on as soon as it has started. It is
   *[other] { $count } GPU kernels wait for your server and go on as soon as it has started. They are
} kept for another { $left }.
readopt-short = its notebook server does not answer; kept for { $left }: start your server to go back in

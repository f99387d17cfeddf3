"""The public suite of Jupyter kernels, run against the kernel "1 GPU"."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import jupyter_kernel_test
import pytest
from jupyter_client.blocking import BlockingKernelClient

from tests.stories.live import Live


@pytest.fixture(scope="module")
def gpu_kernel(live: Live) -> Iterator[BlockingKernelClient]:
    """A kernel that the portal started, and a client that knows its connection file."""

    async def start() -> str:
        async with live.session() as session:
            await session.start_server()
            kernel = await session.start_kernel(TestGpuKernel.kernel_name, "suite.ipynb")
            await kernel.run("1")
            return kernel.id

    async def stop(kernel_id: str) -> None:
        async with live.session() as session:
            await session.jupyter("DELETE", f"/api/kernels/{kernel_id}")
            await live.settled()

    kernel_id = asyncio.run(start())
    [file] = live.data.glob(f"home/researcher/**/kernel-{kernel_id}.json")
    client = BlockingKernelClient(connection_file=str(file))
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready(timeout=30)
    yield client
    client.stop_channels()
    client.context.term()
    asyncio.run(stop(kernel_id))


class TestGpuKernel(jupyter_kernel_test.KernelTests):
    kernel_name = "nvlhub-demo.gpu1"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('oops', file=sys.stderr)"
    completion_samples = ({"text": "zi", "matches": {"zip"}},)
    complete_code_samples = ("1", "print('x')", "def f(x):\n  return x*2\n\n\n")
    incomplete_code_samples = ("print('''hello", "def f(x):\n  x*2")
    invalid_code_samples = ("import = 7q",)
    code_page_something = "zip?"
    code_generate_error = "raise ValueError"
    code_execute_result = ({"code": "1+2+3", "result": "6"}, {"code": "'a'*3", "result": "'aaa'"})
    code_display_data = (
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"},
    )
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    @classmethod
    def setUpClass(cls) -> None:
        """Nothing: the kernel is started by the portal, below."""

    @classmethod
    def tearDownClass(cls) -> None:
        """Nothing, likewise."""

    @pytest.fixture(autouse=True)
    def client(self, gpu_kernel: BlockingKernelClient) -> None:
        type(self).kc = gpu_kernel

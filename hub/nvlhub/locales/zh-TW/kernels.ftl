# 筆記本端的訊息。
portal-down = 負責分配 GPU 的入口網站沒有回應，因此沒有啟動任何東西，也沒有扣點。CPU 核心照常可用。請一分鐘後再試；若持續發生，請通知管理員。
kernel-cancelled = 在等到空位之前已取消啟動；您的排隊位置已歸還，沒有扣點。
kernel-ended = 此核心的 GPU 租約已結束：{ $detail }。請啟動新的核心以取得新的租約。
kernel-silent = 核心在 { $seconds } 秒內沒有回報；租約已歸還。請再試一次；若持續發生，請通知管理員。
kernel-still = { $project } 的核心（{ $gpus } 個 GPU）已 { $seconds } 秒沒有回應：它執行的地方暫停了，或與此處斷線。{ $kept }一旦恢復回應就會接著執行，變數都還在；在那之前無法重新啟動。若要放棄，請將它關閉。
kernel-still-kept = 還會保留 { $seconds } 秒。
kernel-failed = 核心在啟動時結束（結束狀態 { $rc }）；租約已歸還。
    { $tail }
kernel-minutes = { $minutes } 分鐘
kernel-preemptible = 可中斷
cpu-kernel = Python 3（CPU）
queued = 正在等候 { $gpus } 個 GPU（{ $project }）：排在第 { $position } 位，預計開始時間 { $start }。這段期間執行的儲存格會保留，屆時執行。
queued-unknown = 無法預估
queued-cancel = 取消
lease-title = { $gpus } × { $model } 租約
lease-simulated = 模擬：背後沒有真正的 GPU
lease-none = 此核心沒有租約：它在 CPU 上執行。持有租約的核心列在啟動器中，每個專案與方案各一個。
lease-row-lease = 租約
lease-row-state = 狀態
lease-row-gpus = GPU 數
lease-row-placement = 位置
lease-row-devices = 裝置
lease-row-project = 專案
lease-row-profile = 方案
extend-minutes = minutes：1 到 { $most } 之間的數字，例如 minutes=60；收到的是 { $given }。未延長。
lease-row-left = 剩餘時間
lease-row-price = 價格
lease-row-hold = 預留
queued-in = 約 { $minutes } 分鐘後

# Dask 叢集。
cluster-no-lease = 此核心沒有 GPU 租約，因此沒有人會為 worker 付費。請以 GPU 核心開啟筆記本，或指明由誰付費：Cluster(project="…")。未啟動任何項目。
cluster-no-domain = span="domain" 是指此核心租約所在的 NVLink 網域，但此核心沒有租約。請以 GPU 核心開啟筆記本，或省略 span。未啟動任何項目。
cluster-no-profile = profile：專案「{ $project }」沒有名為「{ $profile }」的方案。可用：{ $known }。未啟動任何項目。
cluster-no-offer = 專案「{ $project }」目前沒有任何方案，因此無法啟動 worker。請向入口網站管理員申請方案。
cluster-gang-too-large = gang：一份租約 { $gpus } 個 GPU 超過此專案任何方案的上限；「{ $profile }」有 { $most } 個。請最多要求 { $most } 個，或省略 gang。
cluster-gang-cut = workers：gang 的 worker 會一起結束，因此此叢集不能有 { $workers } 個；可以有 { $allowed } 個。未變更任何項目。
cluster-gang-adapt = adapt：gang 的 worker 一起啟動、一起結束，數量無法隨負載調整。請省略 gang，或使用 scale。
cluster-no-dask-cuda = 這裡有真正的 GPU，但未安裝 dask-cuda 套件，因此無法啟動 GPU worker。請安裝：pip install "nvlhub[gpu]"。未啟動任何項目。
cluster-closed = 叢集「{ $name }」已關閉。請建立新的：Cluster(workers=…)。
cluster-not-whole = { $argument }：{ $given } 不可行；請用 { $least } 到 { $most } 的整數。
cluster-not-one-of = { $argument }：{ $given } 不可行；可用的有 { $allowed }。
cluster-not-pairs = { $argument }：{ $given } 不可行；請用以 { $begins } 開頭（不含「=」）的名稱與其文字，例如 { "{" }"{ $begins }NAME": "text"{ "}" }。
cluster-stops-replacing = 一分鐘內有 { $losses } 個 worker 的租約遺失；不再要求替代。get_logs() 會顯示 worker 結束的原因；scale() 會再試。
explain-no-workers = 目前沒有 worker 在執行。
dashboard-gone = 此位址沒有您的叢集儀表板：叢集已關閉，或其核心已結束。顯示叢集的儲存格有新的位址。
cluster-name-taken = name：此程序中已有名為「{ $name }」的叢集。請關閉它，或另取名稱。
cluster-name-bad = name：1 到 60 個字元，不含換行、<、> 與 &。
cluster-partial = { $asked } 個 worker 中有 { $started } 個現在啟動；{ $waiting } 個等候空位（{ $wait }）。它們會自行加入；縮減規模即可放棄排隊。
cluster-less = 擴充到 { $wanted } 個 worker 暫時停在 { $got } 個：{ $why } 有工作時會再嘗試。
cluster-no-room = 目前沒有更多空間。
cluster-warning = { $text }
cluster-adapt-ends = worker 數量不再隨負載調整：由 scale() 設定。要再次調整請呼叫 adapt()。
cluster-lost = { $gpus } 個 worker 的租約已結束：{ $why }。
cluster-replaced = 一個 worker 的租約遺失；正在要求另一個。
cluster-not-replaced = 一個 worker 的租約遺失，且沒有替代：{ $why }
cluster-gave-up = 一個 worker 在 { $seconds } 秒內結束了 { $deaths } 次，因此放棄；其租約已歸還。
    { $tail }
cluster-workers-waiting = { $wanted } 個中的 { $workers } 個；其餘等候空位（{ $wait }）
cluster-workers-coming = { $wanted } 個中的 { $workers } 個；其餘正在啟動
cluster-queue = 排在第 { $position } 位，預計開始時間 { $start }
cluster-simulated = { $gpus }（模擬：worker 在 CPU 上執行，租約與帳本是真的）
cluster-real = { $gpus }
cluster-price = 每小時 { $price } GPU 小時
cluster-charge = { $seconds } GPU 秒（{ $hours } GPU 小時）
cluster-left = { $hours } 小時 { $minutes } 分
cluster-row-workers = Worker
cluster-row-gpus = GPU 數
cluster-row-domain = NVLink 網域
cluster-row-transport = 傳輸
cluster-row-price = 價格
cluster-row-left = 剩餘時間
cluster-row-charge = 目前扣點
usage-where = 位置
usage-device = 裝置
usage-busy = 忙碌
usage-memory = 記憶體
usage-gpu-busy = GPU { $percent } %
usage-cpu-busy = CPU { $percent } %（模擬：沒有 GPU）
usage-coming = 還有 { $workers } 個 worker 尚未加入。
usage-charge = 目前扣點：{ $seconds } GPU 秒（{ $hours } GPU 小時）。
explain-simulated = GPU 是模擬的：每個 worker 是一個代表一個 GPU 的 CPU 程序。租約、排隊與扣點是真的。
explain-real = 每個 GPU 一個 worker，以 UUID 指定。
explain-one-domain = GPU 為真時，所有 worker 之間都有 NVLink。
explain-across-domains = 不同網域的 worker 經由網路相連，比 NVLink 慢 18 到 36 倍。
explain-tls = 各方之間以此叢集專用的憑證加密；安全的預設值。資料會經過主機記憶體。
explain-ucx = GPU 之間、機盤之間都走 NVLink，不繞經主機。未加密：資源池表明網域的網路僅供持有者使用。
explain-plain = 一般的 Dask worker；節點代理程式會在租約內重新啟動它。
explain-cuda = dask-cuda worker：固定在其 GPU 的 UUID 以及鄰近的 CPU 核心。
explain-one-thread = 每個 GPU 一個執行緒：同一程序的多個核心函式難以共用 GPU。
explain-pandas = 資料框為 pandas，陣列為 NumPy：沒有 GPU。
explain-backend = 有安裝 cuDF 時資料框為 cuDF，否則為 pandas。
explain-cudf-spill = GPU 記憶體不足時，cuDF 會把資料框移到主機記憶體，而不是失敗。
explain-fabric = GPU 記憶體來自 RMM 記憶體池，驅動程式允許時帶有 fabric handle：沒有它，NVLink 到不了其他機盤。
explain-no-ucx-simulated = 要求了 ucx，但這裡沒有 GPU：使用 tls。
explain-no-ucx-shared = 要求了 ucx，但此資源池的網路是共用的：ucx 未加密，因此使用 tls。管理員可以表明網域的網路是私有的（設定 private_fabric）。
explain-no-ucx-package = 要求了 ucx，但未安裝 distributed-ucxx 套件：使用 tls。請安裝：pip install "nvlhub[gpu]"。
explain-no-imex = 這裡沒有 IMEX 通道，因此機盤之間的流量退回 TCP；機盤內使用 NVLink。請向管理員要求 nvidia-imex。

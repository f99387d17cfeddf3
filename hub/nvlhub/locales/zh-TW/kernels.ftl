# 筆記本端的訊息。
portal-down = 負責分配 GPU 的入口網站沒有回應，因此沒有啟動任何東西，也沒有扣點。CPU 核心照常可用。請一分鐘後再試；若持續發生，請通知管理員。
kernel-cancelled = 在等到空位之前已取消啟動；您的排隊位置已歸還，沒有扣點。
kernel-ended = 此核心的 GPU 租約已結束：{ $detail }。請啟動新的核心以取得新的租約。
kernel-silent = 核心在 { $seconds } 秒內沒有回報；租約已歸還。請再試一次；若持續發生，請通知管理員。
kernel-failed = 核心在啟動時結束（結束狀態 { $rc }）；租約已歸還。
    { $tail }
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
lease-row-left = 剩餘時間
lease-row-price = 價格
lease-row-hold = 預留
queued-in = 約 { $minutes } 分鐘後

# 引擎自有佇列、外部使用者，以及引擎沒有回應時，使用者會看到的文字。
engine-away = 叢集目前沒有回應。執行中的項目不受影響，也不會重複計費：恢復回應後，以叢集本身的時鐘為準。在那之前不會啟動新的項目；您的要求會在佇列中等候。若超過十分鐘仍未恢復，請通知管理員。
engine-away-admin = 目前沒有回應：不會啟動新的項目。請檢查其控制主機是否正在執行；入口網站的紀錄載有最後收到的訊息。
waits-until = { $why }預計 { $at } 開始。
waits-soon = { $why }應隨時會開始。
queued-cluster = { $gpus } × GPU（{ $project }）：{ $why }其間執行的儲存格會保留，屆時執行。開始之前不計費。
queued-agent = { $gpus } × GPU（{ $project }）：GPU 已就緒並開始計費，但核心尚未回報。請稍候；若一直沒有回應，請取消啟動並通知管理員。
kernel-cancelled-late = 已取消啟動，租約已歸還。只計算 GPU 歸您使用的秒數。
compute-pending-sure = 要讓 { $name } 離開叢集的佇列嗎？除非叢集屆時已開始執行，否則不計費。
compute-did-pending = { $name } 正在離開叢集的佇列。除非叢集已開始執行，否則不計費。
fleet-outside = { $count } 個由入口網站以外的工作使用。
fleet-state-outside = 外部使用
fleet-gpu-outside = 外部使用
fleet-drill-outside = { $count } 個由入口網站以外的工作使用：在此無法處理。
fleet-tray-engine = 停用（由叢集）
fleet-tray-engine-how = 由叢集停用的托盤，在叢集恢復後會自動恢復使用。
gpu-outside = 外部使用
free-outside = 另有 { $count } 個 GPU 由入口網站以外的工作使用。

# 比筆記本伺服器活得久的核心。
kernel-not-back = 筆記本伺服器意外結束，而這個 GPU 核心無法接回：執行它的地方沒有回應，或它連回此伺服器的通道已被占用。它的租約已歸還，變數已遺失。請啟動新的核心。
kernel-not-its-lease = 關於這個 GPU 核心的紀錄與它所指的租約不符，因此沒有接回核心；該租約未被更動。請啟動新的核心，或到「我的運算」查看執行中的項目。
readopt-alone = 它的筆記本伺服器已 { $age } 沒有回應。核心仍在執行，變數與 GPU 都保留，可以接回。
readopt-until = 自動結束倒數
readopt-back = 返回核心
readopt-back-of = 返回核心：{ $name }
readopt-hint = 返回時會重新啟動您的伺服器；核心所屬的筆記本會找到它。
readopt-waits = 有 { $count } 個 GPU 核心在等您的伺服器，伺服器啟動後就會接著執行；還會保留 { $left }。
readopt-short = 筆記本伺服器沒有回應；將保留 { $left }：請啟動您的伺服器以返回

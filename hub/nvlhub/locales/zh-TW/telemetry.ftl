# GPU 做了什麼：租約的事件、用量與租約兩個頁面。
event-asked = 已提出，並預留了時數。
event-placed = 已找到 GPU。
event-started = 開始執行：從這裡起計費。
event-extended = 已付費延長：{ $actor } 預留了 { $held } GPU 小時。
event-refunded = 已退還 { $held } GPU 小時。{ $reason }
event-corrected = { $actor } 更正了 { $held } GPU 小時：{ $reason }
event-settled = 已結算：扣除 { $charged } GPU 小時，其餘預留已退回。
event-deadline-near = 已提醒持有者：期限將至。
event-idle-near = 已提醒持有者：沒有任何工作在執行，租約即將收回。
event-preempt-near = 已提醒持有者：其他人需要這些 GPU。
